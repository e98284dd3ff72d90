import { createPrivateKey, X509Certificate } from 'node:crypto'
import { once } from 'node:events'
import { SharedAccessSignature } from 'azure-iot-common'
import { faultNames, SimulatedCloud, TestAuthority, type FaultName } from 'leafkeeper-sim'
import type mqtt from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { Faults } from '../../sim/faults/faults.ts'
import { requestFor } from './asking.ts'
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
import { rawHttp, type RawAnswer } from './raw-http.ts'
import { dpsCertificates } from './service-clients.ts'

const hubName = 'hub-a.azure-devices.net'
let cloud: SimulatedCloud
let root: TestAuthority
let device: Device

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'root 1' })
  device = await createDevice(root, 'device-1')
  cloud.dps.groups.put({ enrollmentGroupId: 'factory', attestation: { primary: root.certificate } })
})
afterAll(() => cloud.close())
afterEach(() => cloud.faults.clear())

/** One change through a face of HTTP, and whether it was made. */
interface Change {
  readonly send: (name: string) => Promise<RawAnswer>
  readonly isDone: (name: string) => boolean
}

function token(host: string, connectionString: string): string {
  const [, policy = '', key = ''] = /KeyName=([^;]*);SharedAccessKey=(.*)$/.exec(connectionString) ?? []
  return SharedAccessSignature.create(host, policy, key, Math.floor(Date.now() / 1000) + 3600).toString()
}

const changes: Readonly<Record<string, Change>> = {
  'hub-service': {
    send: (deviceId) =>
      rawHttp(cloud, {
        host: hubName,
        method: 'PUT',
        path: `/devices/${deviceId}?api-version=2021-04-12`,
        headers: { authorization: token(hubName, cloud.hub('hub-a').connectionString) },
        body: { deviceId, authentication: { type: 'sas' } },
      }),
    isDone: (deviceId) => cloud.hub('hub-a').registry.get(deviceId) !== undefined,
  },
  'dps-service': {
    send: (registrationId) =>
      rawHttp(cloud, {
        host: cloud.dps.hostName,
        method: 'PUT',
        path: `/enrollments/${registrationId}?api-version=2021-10-01`,
        headers: { authorization: token(cloud.dps.hostName, cloud.dps.connectionString) },
        body: { registrationId, attestation: { type: 'symmetricKey', symmetricKey: {} } },
      }),
    isDone: (registrationId) => cloud.dps.enrollments.get(registrationId) !== undefined,
  },
  management: {
    send: async (name) => {
      const { certificate } = await TestAuthority.createRoot({ commonName: name })
      return dpsCertificates(cloud, { method: 'PUT', path: `/${name}`, body: { certificate } })
    },
    isDone: (name) => cloud.dps.certificates.get(name) !== undefined,
  },
  dps: {
    send: async (registrationId) =>
      rawHttp(cloud, {
        host: cloud.provisioningHost,
        method: 'PUT',
        path: `/${cloud.idScope}/registrations/${registrationId}/register?api-version=2021-06-01`,
        body: { registrationId },
        device: await createDevice(root, registrationId),
      }),
    isDone: (registrationId) => cloud.dps.registrationCount(registrationId) === 1,
  },
}

describe.each(Object.entries(changes))('faults of %s over HTTP', (face, { send, isDone }) => {
  const fault = (disturbance: string): FaultName => {
    const name = faultNames.find((one) => one === `${face}-${disturbance}`)
    if (name === undefined) throw new Error(`no fault ${disturbance}`)
    return name
  }

  it.each<[disturbance: string, settings: object, status: number, header: string | undefined]>([
    ['throttled', { retryAfter: 7, times: 1 }, 429, '7'],
    ['error', { status: 503, times: 1 }, 503, undefined],
  ])('%s: is refused, and then not', async (disturbance, settings, status, retryAfter) => {
    cloud.faults.set(fault(disturbance), settings)
    const refused = await send(`${face}-${disturbance}`)
    expect(refused.status).toBe(status)
    expect(refused.headers['retry-after']).toBe(retryAfter)
    expect(isDone(`${face}-${disturbance}`)).toBe(false)
    expect((await send(`${face}-${disturbance}`)).status).toBeLessThan(300)
    expect(isDone(`${face}-${disturbance}`)).toBe(true)
  })

  it.each<[disturbance: string, isDoneAfter: boolean]>([
    ['dropped', false],
    ['answer-lost', true],
  ])('%s: ends the connection', async (disturbance, isDoneAfter) => {
    cloud.faults.set(fault(disturbance), { times: 1 })
    await expect(send(`${face}-${disturbance}`)).rejects.toThrow()
    expect(isDone(`${face}-${disturbance}`)).toBe(isDoneAfter)
    expect(cloud.faults.list()).toEqual([])
  })

  it('latency: takes its time', async () => {
    cloud.faults.set(fault('latency'), { ms: 60 })
    const begun = performance.now()
    expect((await send(`${face}-latency`)).status).toBeLessThan(300)
    expect(performance.now() - begun).toBeGreaterThan(55)
  })
})

/** A device's connection; ends with the test. */
function dial(id: string, who: Device, username: string): mqtt.MqttClient {
  const client = bareClient(cloud, who, { clientId: id, username })
  onTestFinished(() => void client.end(true))
  return client
}

/** What a client is told when it connects: its CONNACK code, or that the connection has ended. */
async function connected(client: mqtt.MqttClient): Promise<unknown> {
  return new Promise((resolve) => {
    client.once('connect', () => resolve(0))
    client.once('error', (error) => resolve('code' in error ? error.code : error))
    client.once('close', () => resolve('closed'))
  })
}

describe('faults of DPS over MQTT', () => {
  it.each<[FaultName, object, answer: string, count: number]>([
    ['dps-throttled', { retryAfter: 7 }, '$dps/registrations/res/429/?$rid=1&retry-after=7', 0],
    ['dps-error', {}, '$dps/registrations/res/500/?$rid=1', 0],
    ['dps-latency', { ms: 20 }, '$dps/registrations/res/202/', 1],
    ['dps-dropped', {}, 'closed', 0],
    ['dps-answer-lost', {}, 'closed', 1],
  ])('%s %j: %s', async (name, settings, expected, count) => {
    const one = await createDevice(root, `mqtt-${name}`)
    const client = dial(one.id, one, dpsUserName(cloud, one.id))
    cloud.faults.set(name, settings)
    expect(await connected(client)).toBe(0)
    const answer = new Promise<string>((resolve) => {
      client.once('message', (topic) => resolve(topic))
      client.once('close', () => resolve('closed'))
    })
    client.subscribe('$dps/registrations/res/#')
    client.publish(
      '$dps/registrations/PUT/iotdps-register/?$rid=1',
      JSON.stringify({ registrationId: one.id }),
      { qos: 1 },
    )
    expect((await answer).startsWith(expected)).toBe(true)
    expect(cloud.dps.registrationCount(one.id)).toBe(count)
  })
})

describe('faults of a hub over MQTT', () => {
  it.each<[FaultName, object, connack: unknown]>([
    ['hub-throttled', {}, 3],
    ['hub-error', {}, 3],
    ['hub-dropped', {}, 'closed'],
    ['hub-answer-lost', {}, 'closed'],
    ['hub-latency', { ms: 20 }, 0],
  ])('%s %j: a CONNECT gets %s', async (name, settings, connack) => {
    const one = await createDevice(root, `connect-${name}`)
    enrol(cloud, 'hub-a', one)
    cloud.faults.set(name, settings)
    expect(await connected(dial(one.id, one, hubUserName(hubName, one.id)))).toBe(connack)
  })

  it.each<[FaultName, object, ended: boolean, arrived: number]>([
    ['hub-throttled', {}, true, 0],
    ['hub-dropped', {}, true, 0],
    ['hub-answer-lost', {}, true, 1],
    ['hub-latency', { ms: 20 }, false, 1],
  ])('%s %j: a message; the connection ends: %s, arrived: %s', async (name, settings, ended, arrived) => {
    const one = await createDevice(root, `publish-${name}`)
    enrol(cloud, 'hub-a', one)
    const client = dial(one.id, one, hubUserName(hubName, one.id))
    expect(await connected(client)).toBe(0)
    cloud.faults.set(name, settings)
    const outcome = new Promise<string>((resolve) => {
      client.once('close', () => resolve('closed'))
      client.publish(`devices/${one.id}/messages/events/`, 'hello', { qos: 1 }, (error) => {
        if (error === undefined || (error as unknown) === null) resolve('acknowledged')
      })
    })
    expect(await outcome).toBe(ended ? 'closed' : 'acknowledged')
    const { messages } = cloud.hub('hub-a')
    expect(messages.filter(({ deviceId }) => deviceId === one.id)).toHaveLength(arrived)
  })
})

describe('faults of the whole cloud', () => {
  it('tls-refused: no handshake, and then one', async () => {
    cloud.faults.set('tls-refused', { times: 1 })
    const refused = openTls(cloud, hubName)
    await expect(once(refused, 'secureConnect')).rejects.toThrow(/before secure TLS|ECONNRESET/)
    const taken = openTls(cloud, hubName)
    await once(taken, 'secureConnect')
    taken.destroy()
  })

  it('clock-skew: a good token has expired', async () => {
    const hub = changes['hub-service']
    cloud.faults.set('clock-skew', { ms: 2 * 60 * 60 * 1000 })
    expect((await hub?.send('skewed'))?.status).toBe(401)
    cloud.faults.clear('clock-skew')
    expect((await hub?.send('skewed'))?.status).toBe(200)
  })

  it('hub-failover: the hub is gone, and DPS assigns its devices to another', async () => {
    const { assignedHub, deviceId } = await register(cloud, device)
    const client = dial(deviceId, device, hubUserName(assignedHub, deviceId))
    expect(await connected(client)).toBe(0)
    const closed = once(client, 'close')
    cloud.faults.set('hub-failover', { hub: assignedHub })
    await closed
    expect(await connected(dial(deviceId, device, hubUserName(assignedHub, deviceId)))).toBe(3)
    const host = { host: assignedHub, path: '/devices?api-version=2021-04-12' }
    expect((await rawHttp(cloud, host)).status).toBe(503)
    expect((await register(cloud, device)).assignedHub).not.toBe(assignedHub)
    cloud.faults.clear('hub-failover')
    expect((await rawHttp(cloud, host)).status).toBe(401)
    expect(() => cloud.faults.set('hub-failover', { hub: 'nowhere' })).toThrow(/expected one of hub-a/)
  })

  it('ca-revoked: neither DPS nor a hub takes its leaves', async () => {
    const other = await TestAuthority.createRoot({ commonName: 'root 2' })
    const one = await createDevice(other, 'revoked-1')
    const { name: certificate } = cloud.dps.certificates.put('root-2', other.certificate, true)
    cloud.dps.groups.put({ enrollmentGroupId: 'revoked', attestation: { primary: other.certificate } })
    const hub = cloud.hub('hub-a')
    hub.trustedAuthorities.add(other.certificate)
    hub.registry.create({ deviceId: 'ca-1', authentication: { type: 'certificateAuthority' } })
    const byAuthority = await createDevice(other, 'ca-1')
    const connect = async (): Promise<unknown> =>
      connected(dial('ca-1', byAuthority, hubUserName(hubName, 'ca-1')))
    await register(cloud, one)
    expect(await connect()).toBe(0)
    cloud.faults.set('ca-revoked', { certificate })
    await expect(register(cloud, one)).rejects.toThrow()
    expect(await connect()).toBe(5)
    cloud.faults.clear()
    await register(cloud, one)
    expect(await connect()).toBe(0)
  })

  // What devices meet with then is shown in hub-credentials.test.ts.
  it('issuance-slow and issuance-stuck: are in force on every hub until they are cleared', () => {
    const { control } = cloud.hub('hub-b').credentials
    cloud.faults.set('issuance-slow', { ms: 500 })
    cloud.faults.set('issuance-stuck')
    expect(control.delayMs).toBe(500)
    expect(control.faults.take()).toEqual({ kind: 'stick' })
    cloud.faults.clear()
    expect(control.delayMs).toBe(0)
    expect(control.faults.take()).toBeUndefined()
  })

  it('issuance-wrong: a certificate for a key that nobody has asked for, and then the right one', async () => {
    const deviceId = 'wronged-1'
    cloud.hub('hub-b').registry.create({ deviceId, authentication: { type: 'sas' } })
    const { csr, key } = await requestFor(deviceId)
    const isRight = async (): Promise<boolean> => {
      const { leaf } = await cloud.hub('hub-b').issueCertificate(deviceId, csr)
      return new X509Certificate(leaf).checkPrivateKey(createPrivateKey(key))
    }
    cloud.faults.set('issuance-wrong', { times: 1 })
    expect([await isRight(), await isRight()]).toEqual([false, true])
    cloud.faults.set('issuance-wrong')
    cloud.faults.clear()
    expect(await isRight()).toBe(true)
  })
})

describe('chance', () => {
  const run = (seed: number): readonly boolean[] => {
    const faults = new Faults(seed, { apply: () => () => undefined })
    faults.set('hub-dropped', { probability: 0.5 })
    return Array.from({ length: 64 }, () => faults.trouble('hub').cut === 'before')
  }

  it('is the same for the same seed, and another for another', () => {
    expect(run(7)).toEqual(run(7))
    expect(run(8)).not.toEqual(run(7))
    expect(new Set(run(7)).size).toBe(2)
  })
})
