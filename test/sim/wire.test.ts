import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'
import mqtt from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import {
  bareClient,
  createDevice,
  dpsUserName,
  enrol,
  hubUserName,
  openTls,
  register,
  type Device,
} from './devices.ts'

const hub = 'hub-a.azure-devices.net'
let cloud: SimulatedCloud
let root: TestAuthority
let device: Device
const clients: mqtt.MqttClient[] = []

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'wire root' })
  device = await createDevice(root, 'wire-1')
  enrol(cloud, hub, device)
  cloud.dps.groups.put({ enrollmentGroupId: 'wire', attestation: { primary: root.certificate } })
})
afterAll(() => cloud.close())
afterEach(() => {
  for (const client of clients.splice(0)) client.end(true)
})

function hubClient(
  overrides: Partial<mqtt.IClientOptions> & { username?: string } = {},
  who: Device | undefined = device,
): mqtt.MqttClient {
  const client = bareClient(cloud, who, {
    clientId: device.id,
    username: hubUserName(hub, device.id),
    ...overrides,
  })
  clients.push(client)
  return client
}

function dpsClient(
  overrides: Partial<mqtt.IClientOptions> & { username?: string } = {},
  who: Device | undefined = device,
): mqtt.MqttClient {
  return hubClient({ username: dpsUserName(cloud, device.id), ...overrides }, who)
}

/** The CONNACK code. */
async function answerTo(client: mqtt.MqttClient): Promise<number | undefined> {
  const [packet] = (await once(client, 'packetreceive')) as [mqtt.Packet]
  if (packet.cmd !== 'connack') return undefined
  // A client of MQTT 5 reads the code of an older CONNACK as a reason.
  return packet.returnCode ?? packet.reasonCode
}

async function connected(client: mqtt.MqttClient): Promise<mqtt.MqttClient> {
  await once(client, 'connect')
  return client
}

describe('CONNECT to a hub', () => {
  it.each([
    ['accepts the user name of the SDK', {}, 0],
    ['accepts a port in the host name', { username: `${hub}:8883/wire-1/?api-version=2021-04-12` }, 0],
    ['refuses a user name without api-version', { username: `${hub}/wire-1/` }, 5],
    ['refuses a client id of another name', { clientId: 'wire-2' }, 5],
    [
      'refuses a module',
      { username: `${hub}/wire-1/module-1/?api-version=2021-04-12`, clientId: 'wire-1/module-1' },
      5,
    ],
    ['refuses the user name of nobody', { username: 'nonsense' }, 5],
    ['refuses MQTT 3.1', { protocolId: 'MQIsdp', protocolVersion: 3 }, 1],
    ['refuses MQTT 5', { protocolVersion: 5 }, 1],
  ] as const)('%s', async (_what, overrides, code) => {
    expect(await answerTo(hubClient(overrides))).toBe(code)
  })

  it('refuses a device without a certificate', async () => {
    const client = bareClient(cloud, undefined, {
      clientId: device.id,
      username: hubUserName(hub, device.id),
    })
    clients.push(client)
    expect(await answerTo(client)).toBe(5)
  })

  it('refuses a device without a user name', async () => {
    const client = new mqtt.Client(() => openTls(cloud, hub, device), {
      clientId: device.id,
      reconnectPeriod: 0,
    })
    client.on('error', () => undefined)
    clients.push(client)
    expect(await answerTo(client)).toBe(5)
  })
})

describe('a hub ends the connection', () => {
  it.each([
    ['on QoS 2', 'devices/wire-1/messages/events/', 2],
    ['on the topic of another device', 'devices/wire-2/messages/events/', 1],
    ['on an unknown topic', 'hello/world', 1],
    ['on an unknown topic of its own', '$iothub/credentials/POST/issueCertificate/?$rid=1', 1],
    ['on a property bag that cannot be read', 'devices/wire-1/messages/events/a=%E0', 1],
    ['on a request without an id', '$iothub/twin/GET/?', 0],
  ] as const)('%s', async (_what, topic, qos) => {
    const before = cloud.hub(hub).messages.length
    const client = await connected(hubClient())
    const closed = once(client, 'close')
    client.publish(topic, '[]', { qos })
    await closed
    expect(cloud.hub(hub).messages).toHaveLength(before)
  })

  it('on a message that is too large', async () => {
    const client = await connected(hubClient())
    const closed = once(client, 'close')
    client.publish('devices/wire-1/messages/events/', Buffer.alloc(256 * 1024 + 1), { qos: 1 })
    await closed
  })

  it.each(['#', 'devices/wire-2/messages/devicebound/#', '$SYS/#', '$iothub/methods/POST/+'])(
    'on a subscription to %s',
    async (filter) => {
      const client = await connected(hubClient())
      const closed = once(client, 'close')
      client.subscribe(filter)
      await closed
    },
  )

  it('on bytes that are no MQTT', async () => {
    const socket = openTls(cloud, hub, device)
    socket.on('error', () => undefined)
    await once(socket, 'secureConnect')
    const closed = once(socket, 'close')
    socket.write('hello, this is neither MQTT nor HTTP\r\n\r\n')
    await closed
  })

  it('on a packet before CONNECT', async () => {
    const socket: TLSSocket = openTls(cloud, hub, device)
    socket.on('error', () => undefined)
    await once(socket, 'secureConnect')
    const closed = once(socket, 'close')
    socket.write(Buffer.from([0xc0, 0x00]))
    await closed
  })
})

describe('a hub', () => {
  it.each([
    ['no object', '[]'],
    ['no JSON', '{'],
    ['its own version', '{"$version":7}'],
    ['more than ten levels', '{"a":'.repeat(100_000 / 20) + '1' + '}'.repeat(100_000 / 20)],
    ['more than 32 KiB', JSON.stringify({ a: 'x'.repeat(32 * 1024) })],
  ])('answers a twin patch of %s with 400 and leaves the twin alone', async (_what, patch) => {
    const client = await connected(hubClient())
    await new Promise((resolve) => client.subscribe('$iothub/twin/res/#', resolve))
    const answered = once(client, 'message')
    client.publish('$iothub/twin/PATCH/properties/reported/?$rid=7', patch)
    const [topic] = (await answered) as [string]
    expect(topic).toBe('$iothub/twin/res/400/?$rid=7')
    expect(cloud.hub(hub).twin(device.id).reported).toEqual({ $version: 1 })
  })

  it('lets a device unsubscribe, also from what it never subscribed to', async () => {
    const client = await connected(hubClient())
    await new Promise((resolve) => client.subscribe('$iothub/methods/POST/#', resolve))
    await new Promise((resolve) => client.unsubscribe(['$iothub/methods/POST/#', 'hello/world'], resolve))
    await expect(cloud.hub(hub).invokeMethod(device.id, { methodName: 'hello' })).rejects.toMatchObject({
      errorCode: 404103,
    })
  })

  it('acknowledges QoS 1, takes QoS 0, and notes RETAIN without retaining', async () => {
    const client = await connected(hubClient())
    await new Promise((resolve) => {
      client.publish('devices/wire-1/messages/events/%24.mid=1', 'one', { qos: 1, retain: true }, resolve)
    })
    expect(cloud.hub(hub).messages.at(-1)).toMatchObject({
      systemProperties: { messageId: '1' },
      properties: { 'mqtt-retain': 'true' },
    })
    const arrived = cloud.waitFor('telemetry')
    client.publish('devices/wire-1/messages/events/$.mid=2&plain', 'two', { qos: 0 })
    expect(await arrived).toMatchObject({ systemProperties: { messageId: '2' }, properties: { plain: '' } })
  })

  it('grants QoS 1 where QoS 2 was asked for', async () => {
    const client = await connected(hubClient())
    const granted = await new Promise((resolve) => {
      client.subscribe('devices/wire-1/messages/devicebound/#', { qos: 2 }, (_error, list) => resolve(list))
    })
    expect(granted).toEqual([{ topic: 'devices/wire-1/messages/devicebound/#', qos: 1 }])
  })

  it('remembers subscriptions for a device that comes back with clean=false', async () => {
    const first = await connected(hubClient({ clean: false }))
    await new Promise((resolve) => first.subscribe('$iothub/methods/POST/#', resolve))
    const gone = cloud.waitFor('deviceDisconnected')
    first.end(true)
    await gone
    const second = hubClient({ clean: false })
    second.on('message', (topic: string) => {
      second.publish(`$iothub/methods/res/204/?${topic.split('?')[1] ?? ''}`, '')
    })
    const call = { methodName: 'hello', connectTimeoutMs: 5000 }
    expect(await cloud.hub(hub).invokeMethod(device.id, call)).toEqual({ status: 204, payload: null })
  })

  it('calls an answer that is no JSON what it is', async () => {
    const client = await connected(hubClient())
    await new Promise((resolve) => client.subscribe('$iothub/methods/POST/#', resolve))
    client.on('message', (topic: string) => {
      client.publish(`$iothub/methods/res/200/?${topic.split('?')[1] ?? ''}`, '{')
    })
    await expect(cloud.hub(hub).invokeMethod(device.id, { methodName: 'hello' })).rejects.toMatchObject({
      status: 502,
    })
    await expect(cloud.hub(hub).invokeMethod(device.id, { methodName: 'a/b' })).rejects.toMatchObject({
      status: 400,
    })
  })

  it('turns the will of a device that was cut off into telemetry', async () => {
    const will = {
      topic: 'devices/wire-1/messages/events/',
      payload: 'farewell',
      qos: 1,
      retain: false,
    } as const
    await connected(hubClient({ will }))
    const arrived = cloud.waitFor('telemetry')
    cloud.hub(hub).disconnect(device.id)
    expect(await arrived).toMatchObject({ properties: { 'iothub-MessageType': 'Will' } })
  })

  it('takes a device over a hundred times without losing track of it', async () => {
    for (let round = 0; round < 100; round += 1) await connected(hubClient())
    expect(cloud.hub(hub).registry.get(device.id)?.connectionState).toBe('Connected')
    const gone = cloud.waitFor('deviceDisconnected', ({ reason }) => reason === 'last')
    cloud.hub(hub).disconnect(device.id, 'last')
    await gone
    expect(cloud.hub(hub).registry.get(device.id)?.connectionState).toBe('Disconnected')
  })
})

describe('DPS', () => {
  const results = '$dps/registrations/res/#'
  const registerTopic = '$dps/registrations/PUT/iotdps-register/?$rid=r-1'

  /** Publishes a request and gives the topic and the body of the answer. */
  async function ask(
    client: mqtt.MqttClient,
    topic: string,
    body: string,
  ): Promise<{ topic: string; body: unknown }> {
    const answered = once(client, 'message')
    client.publish(topic, body, { qos: 1 })
    const [answerTopic, payload] = (await answered) as [string, Buffer]
    return { topic: answerTopic, body: JSON.parse(payload.toString()) }
  }

  async function listening(
    overrides: Parameters<typeof dpsClient>[0] = {},
    who: Device | undefined = device,
  ): Promise<mqtt.MqttClient> {
    const client = await connected(dpsClient(overrides, who))
    await new Promise((resolve) => client.subscribe(results, { qos: 1 }, resolve))
    return client
  }

  it('answers 202 with an operation, then 200 with the assignment', async () => {
    const client = await listening()
    const first = await ask(client, registerTopic, JSON.stringify({ registrationId: device.id }))
    expect(first.topic).toBe('$dps/registrations/res/202/?$rid=r-1&retry-after=0')
    expect(first.body).toMatchObject({
      status: 'assigning',
      registrationState: { registrationId: device.id },
    })
    const { operationId } = first.body as { operationId: string }
    expect(operationId).toMatch(/^5\.[0-9a-f]{16}\.[0-9a-f-]{36}$/)
    const poll = `$dps/registrations/GET/iotdps-get-operationstatus/?$rid=r-2&operationId=${operationId}`
    const second = await ask(client, poll, ' ')
    expect(second.topic).toBe('$dps/registrations/res/200/?$rid=r-2')
    expect(second.body).toMatchObject({
      operationId,
      status: 'assigned',
      registrationState: { x509: {}, deviceId: device.id },
    })

    const stranger = await listening({}, await createDevice(root, device.id))
    // Two connections under one name do not get in each other's way.
    expect((await ask(stranger, poll, ' ')).topic).toContain('/res/401/')
    expect((await ask(client, poll.replace(operationId, 'none'), ' ')).topic).toContain('/res/404/')
  })

  it.each([
    ['no JSON', '{', 400, {}],
    ['an empty body', '', 400, {}],
    ['no registration id', '{"registrationId":7}', 400, {}],
    ['another registration id than that of the connection', '{"registrationId":"wire-2"}', 401, {}],
    [
      'another client id than the registration id',
      '{"registrationId":"wire-1"}',
      401,
      { clientId: 'wire-2' },
    ],
    [
      'another id scope',
      '{"registrationId":"wire-1"}',
      401,
      { username: '0neOTHER/registrations/wire-1/api-version=2019-03-31' },
    ],
    [
      'a user name without api-version',
      '{"registrationId":"wire-1"}',
      400,
      { username: '0ne00LEAF01/registrations/wire-1/' },
    ],
  ] as const)('answers %s with an error and keeps the connection', async (_what, body, status, overrides) => {
    const client = await listening(overrides)
    const answer = await ask(client, registerTopic, body)
    expect(answer.topic).toContain(`/res/${status}/?$rid=r-1`)
    expect(answer.body).toEqual({
      errorCode: status === 401 ? 401002 : 400000,
      trackingId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      message: expect.any(String) as string,
      timestampUtc: expect.stringMatching(/Z$/) as string,
    })
    await ask(client, registerTopic, body)
  })

  it('lets a device without a certificate connect, and tells it so', async () => {
    const client = bareClient(cloud, undefined, {
      clientId: device.id,
      username: dpsUserName(cloud, device.id),
    })
    clients.push(client)
    await connected(client)
    await new Promise((resolve) => client.subscribe(results, resolve))
    const answer = await ask(client, registerTopic, JSON.stringify({ registrationId: device.id }))
    expect(answer).toMatchObject({
      topic: '$dps/registrations/res/401/?$rid=r-1',
      body: { errorCode: 401002 },
    })
  })

  it('understands the parameters with a question mark and in other case', async () => {
    const username = `${cloud.idScope}/registrations/${device.id}/?api-version=2021-06-01&clientVersion=c`
    const client = await listening({ username })
    const answer = await ask(client, registerTopic, JSON.stringify({ registrationId: device.id }))
    expect(answer.topic).toContain('/res/202/')
  })

  it.each([
    [
      'an unknown topic',
      (client: mqtt.MqttClient) => client.publish('$dps/registrations/PUT/else/?$rid=1', '{}'),
    ],
    [
      'a request without an id',
      (client: mqtt.MqttClient) => client.publish('$dps/registrations/PUT/iotdps-register/', '{}'),
    ],
    ['another subscription', (client: mqtt.MqttClient) => client.subscribe('#')],
  ])('ends the connection on %s', async (_what, act) => {
    const client = await connected(dpsClient())
    const closed = once(client, 'close')
    act(client)
    await closed
  })

  it('does not disturb the hub connection of the same client id', async () => {
    const onHub = await connected(hubClient())
    await listening()
    await new Promise((resolve) => onHub.publish('devices/wire-1/messages/events/', 'x', { qos: 1 }, resolve))
  })

  it('keeps no session, whatever the client asks for', async () => {
    const first = await connected(dpsClient({ clean: false }))
    await new Promise((resolve) => first.subscribe(results, resolve))
    const ended = once(first, 'close')
    first.end(true)
    await ended
    const second = dpsClient({ clean: false })
    const [packet] = (await once(second, 'connect')) as [{ sessionPresent: boolean }]
    expect(packet.sessionPresent).toBe(false)
  })

  it.each(['connect', 'request', 'answer'] as const)('drops the connection at the %s, once', async (at) => {
    const count = cloud.dps.registrationCount(device.id)
    cloud.dps.dropNext(1, at)
    const client = dpsClient()
    const closed = once(client, 'close')
    client.on('connect', () =>
      client.publish(registerTopic, JSON.stringify({ registrationId: device.id }), { qos: 1 }),
    )
    await closed
    expect(cloud.dps.registrationCount(device.id)).toBe(at === 'answer' ? count + 1 : count)
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })
  })

  it('takes back faults that have not come to pass', async () => {
    cloud.dps.dropNext(Infinity)
    cloud.dps.refuseNext({ status: 500, errorCode: 500000 }, Infinity)
    cloud.dps.stopFaults()
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })
  })
})

describe('TLS', () => {
  it.each([hub, 'global.azure-devices-provisioning.net', 'localhost'])(
    'proves to be %s',
    async (servername) => {
      const socket = openTls(cloud, servername, device)
      await once(socket, 'secureConnect')
      expect(socket.authorized).toBe(true)
      socket.destroy()
    },
  )

  it('never resumes a session, so every connection proves its key', async () => {
    const first = openTls(cloud, hub, device)
    const [session] = (await once(first, 'session')) as [Buffer]
    first.destroy()
    const { connect } = await import('node:tls')
    const second = connect({
      port: cloud.port,
      servername: hub,
      ca: cloud.trustedAuthorities,
      cert: device.chain,
      key: device.key,
      session,
    })
    await once(second, 'secureConnect')
    expect(second.isSessionReused()).toBe(false)
    second.destroy()
  })
})

describe('the cloud', () => {
  it('has hubs by name, and says which when asked for another', async () => {
    expect(cloud.hub('HUB-B').hostName).toBe('hub-b.azure-devices.net')
    expect(() => cloud.hub('hub-c')).toThrow('hub-a.azure-devices.net, hub-b.azure-devices.net')
    expect(cloud.connectTo).toEqual({
      '*.azure-devices.net': cloud.address,
      '*.azure-devices-provisioning.net': cloud.address,
    })
    const other = await SimulatedCloud.start({ hubs: ['mine', 'other.example'] })
    expect(other.connectTo['other.example']).toBe(other.address)
    expect(other.hubs.map(({ hostName }) => hostName)).toEqual(['mine.azure-devices.net', 'other.example'])
    await other.close()
    await other.close()
  })

  it('has a clock that can be set', async () => {
    let now = Date.now()
    const other = await SimulatedCloud.start({ now: () => now })
    other.dps.groups.put({ enrollmentGroupId: 'clock', attestation: { primary: root.certificate } })
    await register(other, device)
    now += 365 * 24 * 3600 * 1000
    await expect(register(other, device)).rejects.toMatchObject({
      result: { message: 'Invalid certificate.' },
    })
    await other.close()
  })
})
