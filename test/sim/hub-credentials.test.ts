import { X509Certificate } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import {
  SimulatedCloud,
  TestAuthority,
  type ConnectRefusedEvent,
  type IssuanceFault,
  type SimulatedHub,
} from 'leafkeeper-sim'
import { asking as askingAt, pemOf, requestFor, topicOf, unprovenRequestFor, type Asking } from './asking.ts'
import { bareClient, createDevice, enrol, hubUserName, type Device } from './devices.ts'

let cloud: SimulatedCloud
let hub: SimulatedHub
let root: TestAuthority
/** Runs ahead of the machine's clock by what a test adds. */
let ahead = 0
let devices = 0

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'], now: () => Date.now() + ahead })
  hub = cloud.hub('hub-a')
  root = await TestAuthority.createRoot({ commonName: 'credentials test root' })
})
afterEach(() => {
  hub.credentials.control.faults.disarm()
  hub.credentials.control.requestsPerMinute = Infinity
  hub.credentials.control.openOperations = Infinity
})
afterAll(() => cloud.close())

async function newDevice(): Promise<Device> {
  devices += 1
  const device = await createDevice(root, `csr-${devices}`)
  enrol(cloud, hub.hostName, device)
  return device
}

async function asking(device: Device): Promise<Asking> {
  return askingAt(cloud, hub, device)
}

async function left(asker: Asking, { id }: Device): Promise<void> {
  const gone = cloud.waitFor('deviceDisconnected', ({ deviceId }) => deviceId === id)
  asker.client.end(true)
  await gone
}

/** How the hub refuses a device. */
async function refused(device: Device): Promise<ConnectRefusedEvent> {
  const event = cloud.waitFor('connectRefused', ({ deviceId }) => deviceId === device.id)
  const client = bareClient(cloud, device, {
    clientId: device.id,
    username: `${hub.hostName}/${device.id}/?api-version=2025-08-01-preview`,
  })
  onTestFinished(() => void client.end(true))
  return event
}

/** What a device is issued: a chain with the key for it. */
async function issuedTo(device: Device): Promise<Device> {
  const { csr, key } = await requestFor(device.id)
  const asker = await asking(device)
  asker.ask('rid-1', { id: device.id, csr })
  await asker.next()
  const chain = pemOf((await asker.next()).body['certificates'] as string[])
  await left(asker, device)
  return { ...device, chain, key }
}

describe('a request that is granted', () => {
  it('is told 202, then 200 with leaf, issuer and root, and the hub accepts the leaf', async () => {
    const device = await newDevice()
    const { csr, key } = await requestFor(device.id)
    const asker = await asking(device)
    asker.ask('rid-1', { id: device.id, csr })
    const first = await asker.next()
    expect(first.topic).toBe(topicOf(202, 'rid-1'))
    const { correlationId } = first.body
    expect(Date.parse(String(first.body['operationExpires']))).toBeGreaterThan(Date.now())
    const second = await asker.next()
    expect(second).toMatchObject({ topic: topicOf(200, 'rid-1'), body: { correlationId } })
    const chain = pemOf(second.body['certificates'] as string[])
    await left(asker, device)
    await asking({ ...device, chain, key })
    expect(hub.registry.get(device.id)?.connectionState).toBe('Connected')
    hub.revokeIssued(device.id)
    hub.disconnect(device.id)
    expect(await refused({ ...device, chain, key })).toMatchObject({ errorCode: 401003 })
  })

  it('leaves the connection it came on alone', async () => {
    const device = await newDevice()
    const asker = await asking(device)
    asker.ask('rid-1', { id: device.id, csr: (await requestFor(device.id)).csr })
    await asker.next()
    await asker.next()
    expect(asker.client.connected).toBe(true)
  })
})

describe('a request that is refused at once', () => {
  it.each<[string, (id: string, csr: string) => unknown, number]>([
    ['is null', () => null, 400004],
    ['names no device', (_id, csr) => ({ csr }), 400004],
    ['has no request', (id) => ({ id }), 400004],
    ['has a number for a request', (id) => ({ id, csr: 7 }), 400004],
    ['has a request that is no Base64', (id) => ({ id, csr: '-----BEGIN' }), 400004],
    ['has a request above 8 KB', (id) => ({ id, csr: 'A'.repeat(8 * 1024 + 4) }), 400004],
    ['has a number for what to replace', (id, csr) => ({ id, csr, replace: 7 }), 400004],
  ])('when it %s', async (_what, body, errorCode) => {
    const device = await newDevice()
    const asker = await asking(device)
    asker.ask('rid-1', body(device.id, (await requestFor(device.id)).csr))
    const { topic, body: error } = await asker.next()
    expect(topic).toBe(topicOf(Math.trunc(errorCode / 1000), 'rid-1'))
    expect(error).toMatchObject({
      errorCode,
      message: expect.any(String) as string,
      trackingId: expect.any(String) as string,
      timestampUtc: expect.any(String) as string,
    })
    expect(hub.credentials.active(device.id)).toBeUndefined()
  })

  it.each<[IssuanceFault, number | undefined]>([
    [{ kind: 'refuse', errorCode: 429002, retryAfterSeconds: 7 }, 7],
    [{ kind: 'refuse', errorCode: 429003, retryAfterSeconds: 9 }, 9],
    [{ kind: 'refuse', errorCode: 500001 }, undefined],
    [{ kind: 'refuse', errorCode: 503001, retryAfterSeconds: 1 }, 1],
  ])('when a fault is asked for: %j', async (fault, retryAfter) => {
    const device = await newDevice()
    const asker = await asking(device)
    hub.credentials.control.faults.arm(fault)
    asker.ask('rid-1', { id: device.id, csr: 'AAAA' })
    const { body } = await asker.next()
    expect(body['errorCode']).toBe(fault.kind === 'refuse' ? fault.errorCode : 0)
    expect(body['retryAfter']).toBe(retryAfter)
  })

  it('when a device asks too often, until a minute has passed', async () => {
    const device = await newDevice()
    const asker = await asking(device)
    hub.credentials.control.requestsPerMinute = 1
    asker.ask('rid-1', { id: device.id, csr: 'AAAA' })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-1'))
    await asker.next()
    asker.ask('rid-2', { id: device.id, csr: 'AAAA' })
    expect((await asker.next()).body).toMatchObject({ errorCode: 429002, retryAfter: 60 })
    ahead += 61_000
    asker.ask('rid-3', { id: device.id, csr: 'AAAA' })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-3'))
  })

  it('when the hub has too many operations open', async () => {
    const [one, other] = [await newDevice(), await newDevice()]
    hub.credentials.control.openOperations = hub.credentials.snapshot().length + 1
    hub.credentials.control.faults.arm({ kind: 'stick' })
    const first = await asking(one)
    first.ask('rid-1', { id: one.id, csr: 'AAAA' })
    await first.next()
    const second = await asking(other)
    second.ask('rid-1', { id: other.id, csr: 'AAAA' })
    expect((await second.next()).body).toMatchObject({ errorCode: 429003, retryAfter: 1 })
    hub.registry.delete(one.id)
  })
})

describe('a request that is refused after its 202', () => {
  it.each<[string, (id: string) => Promise<string>, string]>([
    ['names another device', async () => (await requestFor('other')).csr, 'SubjectMismatch'],
    ['is not signed by its key', unprovenRequestFor, 'InvalidCsrSignature'],
  ])('when it %s', async (_what, makeCsr, credentialError) => {
    const device = await newDevice()
    const asker = await asking(device)
    asker.ask('rid-1', { id: device.id, csr: await makeCsr(device.id) })
    const { correlationId } = (await asker.next()).body
    const { topic, body } = await asker.next()
    expect(topic).toBe(topicOf(400, 'rid-1'))
    expect(body).toMatchObject({
      errorCode: 400040,
      info: { correlationId, credentialError, requestId: 'rid-1' },
    })
    expect(hub.credentials.active(device.id)).toBeUndefined()
  })

  it('when a fault is asked for', async () => {
    const device = await newDevice()
    const asker = await asking(device)
    hub.credentials.control.faults.arm({ kind: 'reject', errorCode: 400040, credentialError: 'PolicyDenied' })
    asker.ask('rid-1', { id: device.id, csr: (await requestFor(device.id)).csr })
    await asker.next()
    expect((await asker.next()).body).toMatchObject({ info: { credentialError: 'PolicyDenied' } })
  })
})

describe('an operation that does not come to its end', () => {
  /** A device whose first request, rid-1, is stuck. */
  async function stuck(): Promise<[Asking, Device, string]> {
    const device = await newDevice()
    const asker = await asking(device)
    const { csr } = await requestFor(device.id)
    hub.credentials.control.faults.arm({ kind: 'stick' })
    asker.ask('rid-1', { id: device.id, csr })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-1'))
    return [asker, device, csr]
  }

  it('is in the way of the same request again', async () => {
    const [asker, { id }, csr] = await stuck()
    asker.ask('rid-1', { id, csr })
    expect((await asker.next()).body).toMatchObject({ errorCode: 409005, info: { requestId: 'rid-1' } })
    asker.ask('rid-1', { id, csr, replace: '*' })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-1'))
  })

  it('is not replaced by its second', async () => {
    const [asker, { id }, csr] = await stuck()
    asker.ask('rid-2', { id, csr, replace: 'rid-7' })
    expect((await asker.next()).body).toMatchObject({ errorCode: 412001 })
    expect(hub.credentials.active(id)?.requestId).toBe('rid-1')
  })

  it('is given up when it expires', async () => {
    const [asker, { id }, csr] = await stuck()
    ahead += 12 * 60 * 60 * 1000
    hub.clockChanged()
    expect(hub.credentials.active(id)).toBeUndefined()
    asker.ask('rid-2', { id, csr })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-2'))
  })

  it('leaves its result only as long as it would have lasted', async () => {
    const [asker] = await stuck()
    await asker.unsubscribe()
    hub.credentials.releaseStuck()
    await asker.settled()
    ahead += 12 * 60 * 60 * 1000
    await asker.subscribe()
    await asker.settled()
    expect(asker.untaken).toBe(0)
  })

  it('ends with its device', async () => {
    const [, { id }] = await stuck()
    hub.registry.delete(id)
    expect(hub.credentials.active(id)).toBeUndefined()
  })
})

it('forgets a subscription of the preview on a connection of an earlier version, which goes on', async () => {
  const device = await newDevice()
  await left(await askingAt(cloud, hub, device, { clean: false }), device)
  const connected = cloud.waitFor('deviceConnected', ({ deviceId }) => deviceId === device.id)
  const client = bareClient(cloud, device, {
    clientId: device.id,
    username: hubUserName(hub.hostName, device.id),
    clean: false,
  })
  onTestFinished(() => void client.end(true))
  await connected
  await new Promise((done) => client.publish(`devices/${device.id}/messages/events/`, '', { qos: 1 }, done))
  expect(client.connected).toBe(true)
})

describe('credential policies', () => {
  it('are what the certificates of a device go by', async () => {
    const device = await newDevice()
    cloud.credentialPolicies.put({ name: 'weekly', validityDays: 7 })
    const { csr } = await requestFor(device.id)
    hub.trustIssued(device.id, await cloud.credentialPolicies.issue('Weekly', csr, device.id, Date.now()))
    const { leaf, authorities } = await hub.issueCertificate(device.id, csr)
    const days =
      (Date.parse(new X509Certificate(leaf).validTo) - Date.now()) / 86_400_000 - ahead / 86_400_000
    expect(days).toBeCloseTo(7, 1)
    for (const authority of authorities.map((pem) => new X509Certificate(pem))) {
      expect(authority.publicKey.asymmetricKeyDetails).toMatchObject({ namedCurve: 'secp384r1' })
    }
    expect(authorities).toHaveLength(2)
    cloud.credentialPolicies.delete('weekly')
    await expect(hub.issueCertificate(device.id, csr)).rejects.toMatchObject({
      credentialError: 'PolicyNotFound',
    })
  })

  it('make hubs accept their leaves once these are told of the authority, and until it is deleted', async () => {
    const device = await newDevice()
    cloud.credentialPolicies.put({ name: 'unsynced', validityDays: 30, isSynced: false })
    const { csr, key } = await requestFor(device.id)
    const issued = await cloud.credentialPolicies.issue('unsynced', csr, device.id, Date.now() + ahead)
    hub.trustIssued(device.id, issued)
    const credential = { ...device, chain: issued.leaf, key }
    expect(await refused(credential)).toMatchObject({ errorCode: 401003 })
    cloud.credentialPolicies.sync()
    await left(await asking(credential), device)
    cloud.credentialPolicies.delete('unsynced')
    expect(await refused(credential)).toMatchObject({ errorCode: 401003 })
  })

  it('say nothing for a leaf that was issued to another device, or to an earlier one of that name', async () => {
    const credential = await issuedTo(await newDevice())
    const other = await newDevice()
    expect(await refused({ ...credential, id: other.id })).toMatchObject({ deviceId: other.id })
    hub.registry.delete(credential.id)
    enrol(cloud, hub.hostName, credential)
    expect(await refused(credential)).toMatchObject({ errorCode: 401003 })
  })

  it.each([
    ['too short a life', { name: 'short', validityDays: 6 }],
    ['too long a life', { name: 'long', validityDays: 91 }],
    ['half days', { name: 'half', validityDays: 7.5 }],
    ['no name', { name: '', validityDays: 7 }],
    ['a path for a name', { name: 'a/../b', validityDays: 7 }],
  ])('with %s are refused', (_what, policy) => {
    expect(() => cloud.credentialPolicies.put(policy)).toThrow(RangeError)
    expect(cloud.credentialPolicies.get(policy.name)).toBeUndefined()
  })
})

describe('a request that is dropped', () => {
  it.each(['$rid=abc', '$rid=-abcd', '$rid=abcd-', '$rid=ab_cd', `$rid=${'a'.repeat(37)}`])(
    'with the query "%s"',
    async (query) => {
      const device = await newDevice()
      const asker = await asking(device)
      asker.publish(`?${query}`, JSON.stringify({ id: device.id, csr: 'AAAA' }))
      // Answers come in order, so the next one would be that of the dropped request.
      asker.ask('rid-2', '{')
      expect((await asker.next()).topic).toBe(topicOf(400, 'rid-2'))
    },
  )
})
