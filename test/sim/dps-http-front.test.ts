import { once } from 'node:events'
import { createConnection } from 'node:net'
import { connect } from 'node:tls'
import mqtt from 'mqtt'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createDevice, dpsUserName, openTls } from './devices.ts'
import { rawHttp } from './raw-http.ts'

let cloud: SimulatedCloud

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
})
afterAll(() => cloud.close())

describe('one port for everything', () => {
  it('answers HTTP for a host that it does not have with 404', async () => {
    const { status, json } = await rawHttp(cloud, { host: 'nobody.example', path: '/devices' })
    expect(status).toBe(404)
    expect(json['Message']).toContain('nobody.example')
  })

  it('takes several requests on one connection, the first byte alone in its packet', async () => {
    const socket = openTls(cloud, 'localhost')
    await once(socket, 'secureConnect')
    const heard: string[] = []
    socket.on('data', (chunk: Buffer) => heard.push(chunk.toString()))
    socket.write('G')
    socket.write('ET / HTTP/1.1\r\nHost: nobody.example\r\n\r\n')
    await once(socket, 'data')
    socket.write('GET / HTTP/1.1\r\nHost: nobody.example\r\nConnection: close\r\n\r\n')
    await once(socket, 'close')
    expect(heard.join('').match(/HTTP\/1\.1 404/g)).toHaveLength(2)
  })

  it('outlives a peer that goes away before its first byte', async () => {
    const tcp = createConnection(cloud.port, '127.0.0.1')
    const tls = connect({ socket: tcp, servername: 'localhost', ca: cloud.trustedAuthorities })
    tls.on('error', () => undefined)
    await once(tls, 'secureConnect')
    tcp.resetAndDestroy()
    expect((await rawHttp(cloud, { host: 'nobody.example', path: '/' })).status).toBe(404)
  })
})

describe('MQTT over WebSocket', () => {
  it('carries the client certificate of its connection to DPS', async () => {
    const root = await TestAuthority.createRoot({ commonName: 'websocket root' })
    cloud.dps.groups.put({ enrollmentGroupId: 'websocket', attestation: { primary: root.certificate } })
    const device = await createDevice(root, 'websocket-1')
    const client = mqtt.connect(`wss://localhost:${String(cloud.port)}/$iothub/websocket`, {
      clientId: device.id,
      username: dpsUserName(cloud, device.id),
      reconnectPeriod: 0,
      wsOptions: { ca: cloud.trustedAuthorities, cert: device.chain, key: device.key },
    })
    await once(client, 'connect')
    const subscribed = new Promise((resolve) => client.subscribe('$dps/registrations/res/#', resolve))
    await subscribed
    const attempt = cloud.waitFor('registration')
    client.publish('$dps/registrations/PUT/iotdps-register/?$rid=1', `{"registrationId":"${device.id}"}`, {
      qos: 1,
    })
    const [topic] = (await once(client, 'message')) as [string]
    expect(topic).toContain('/res/202/')
    expect(await attempt).toMatchObject({ outcome: 'assigned', thumbprint: device.thumbprint })
    const closed = once(client, 'close')
    client.end(true)
    await closed
  })

  it.each([
    ['another path', '/elsewhere', 'mqtt'],
    ['another protocol', '/$iothub/websocket', 'amqp'],
  ])('refuses %s', async (_what, path, protocol) => {
    const answer = rawHttp(cloud, {
      host: 'hub-a.azure-devices.net',
      path,
      headers: {
        connection: 'Upgrade',
        upgrade: 'websocket',
        'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==',
        'sec-websocket-version': '13',
        'sec-websocket-protocol': protocol,
      },
    })
    expect((await answer).status).toBe(400)
  })
})
