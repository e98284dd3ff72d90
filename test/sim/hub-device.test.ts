import { once } from 'node:events'
import type mqtt from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, type SimulatedHub } from 'leafkeeper-sim'
import { createSas } from '../../sim/http/sas.ts'
import { bareClient, hubUserName } from './devices.ts'

let cloud: SimulatedCloud
let hub: SimulatedHub
let ahead = 0
const now = (): number => Date.now() + ahead
const clients: mqtt.MqttClient[] = []

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'], now })
  hub = cloud.hub('hub-a')
})
afterEach(() => {
  for (const client of clients.splice(0)) client.end(true)
})
afterAll(() => cloud.close())

function enrolled(deviceId: string): string {
  hub.registry.create({ deviceId, authentication: { type: 'sas' } })
  return deviceId
}

/** A token of the device, or of a policy, that lives so many seconds of the hub's clock. */
function token(deviceId: string, seconds = 3600, policy?: string): string {
  const own = hub.registry.get(deviceId)?.authentication.symmetricKey?.primaryKey ?? ''
  const key = policy === undefined ? own : hub.policies.get(policy).primaryKey
  return createSas(`${hub.hostName}/devices/${deviceId}`, key, Math.floor(now() / 1000) + seconds, policy)
}

function dial(deviceId: string, options: mqtt.IClientOptions = {}): mqtt.MqttClient {
  const client = bareClient(cloud, undefined, {
    clientId: deviceId,
    username: hubUserName(hub.hostName, deviceId),
    password: token(deviceId),
    ...options,
  })
  clients.push(client)
  return client
}

async function connected(deviceId: string, options: mqtt.IClientOptions = {}): Promise<mqtt.MqttClient> {
  const client = dial(deviceId, options)
  await once(client, 'connect')
  return client
}

describe('a device with keys', () => {
  it('is cut off when its token expires, and comes back with a new one', async () => {
    const id = enrolled('token-1')
    await connected(id, { password: token(id, 60) })
    const gone = cloud.waitFor('deviceDisconnected')
    ahead += 61_000
    hub.clockChanged()
    expect(await gone).toMatchObject({ deviceId: id, reason: 'The token has expired.' })
    await connected(id)
  })

  it('gets in by the policy for devices, and by no other', async () => {
    const id = enrolled('token-2')
    await connected(id, { password: token(id, 60, 'device') })
    const refused = cloud.waitFor('connectRefused')
    dial(id, { password: token(id, 60, 'registryRead') })
    expect(await refused).toMatchObject({ deviceId: id, code: 5, errorCode: 401003 })
  })

  it.each([
    ['an expired token', (id: string) => token(id, -1)],
    ['no token', () => ''],
    ['the token of another device', () => token('token-2')],
  ])('is refused with %s', async (what, password) => {
    const id = enrolled(what.replaceAll(' ', '-'))
    const refused = cloud.waitFor('connectRefused')
    dial(id, { password: password(id) })
    expect(await refused).toMatchObject({ deviceId: id, errorCode: 401003 })
  })
})

describe('cloud-to-device messages', () => {
  const filterOf = (id: string): string => `devices/${id}/messages/devicebound/#`

  async function listening(id: string): Promise<mqtt.MqttClient> {
    const client = await connected(id, { clean: false })
    await new Promise((done) => client.subscribe(filterOf(id), { qos: 1 }, done))
    return client
  }

  it('wait for a device that comes back with its session, and are complete with PUBACK', async () => {
    const id = enrolled('c2d-1')
    const first = await listening(id)
    const gone = cloud.waitFor('deviceDisconnected')
    first.end(true)
    await gone
    const completed = cloud.waitFor('cloudToDevice')
    hub.sendToDevice(id, { body: 'hello', messageId: 'm-1', properties: { colour: 'blue' } })
    expect(hub.messageCount(id)).toBe(1)
    const second = dial(id, { clean: false })
    const [topic, body] = (await once(second, 'message')) as [string, Buffer]
    const to = encodeURIComponent(`/devices/${id}/messages/deviceBound`)
    expect(topic).toBe(`devices/${id}/messages/devicebound/%24.to=${to}&%24.mid=m-1&colour=blue`)
    expect(body.toString()).toBe('hello')
    expect(await completed).toMatchObject({ deviceId: id, messageId: 'm-1', outcome: 'completed' })
    expect(hub.messageCount(id)).toBe(0)
  })

  it('expire, and are at most fifty', () => {
    const id = enrolled('c2d-2')
    for (let n = 0; n < 50; n += 1) hub.sendToDevice(id, { body: 'x', timeToLiveMs: 1000 })
    expect(() => hub.sendToDevice(id, { body: 'x' })).toThrow('its most')
    ahead += 1001
    expect(hub.messageCount(id)).toBe(0)
  })

  it('and subscriptions end with the device: one made anew under its name starts with neither', async () => {
    const id = enrolled('c2d-3')
    await listening(id)
    const gone = cloud.waitFor('deviceDisconnected')
    hub.registry.delete(id)
    await gone
    enrolled(id)
    hub.sendToDevice(id, { body: 'for the new one' })
    const client = dial(id, { clean: false })
    const [connack] = (await once(client, 'connect')) as [mqtt.IConnackPacket]
    expect(connack.sessionPresent).toBe(false)
    expect(hub.messageCount(id)).toBe(1)
  })
})

describe('a job', () => {
  it('fails when its longest time has passed', async () => {
    const id = enrolled('slow-1')
    hub.jobs.create({
      jobId: 'slow',
      work: {
        type: 'scheduleDeviceMethod',
        call: { methodName: 'x', connectTimeoutMs: 300_000 },
        request: { methodName: 'x' },
      },
      startAt: now(),
      maxExecutionTimeInSeconds: 60,
      queryCondition: `deviceId = '${id}'`,
    })
    await cloud.waitFor('jobChanged', ({ status }) => status === 'running')
    const failed = cloud.waitFor('jobChanged', ({ status }) => status === 'failed')
    ahead += 61_000
    hub.clockChanged()
    expect(await failed).toMatchObject({ jobId: 'slow' })
    expect(hub.jobs.results('slow')).toMatchObject([{ deviceId: id, status: 'failed' }])
  })
})
