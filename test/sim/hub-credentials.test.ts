import { once } from 'node:events'
import type mqtt from 'mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  generateKeyFile,
  SimulatedCloud,
  TestAuthority,
  type IssuanceFault,
  type JsonObject,
  type SimulatedHub,
} from 'leafkeeper-sim'
import { Pkcs10CertificateRequestGenerator } from '../../sim/pki/x509.ts'
import { bareClient, createDevice, enrol, type Device } from './devices.ts'

const results = '$iothub/credentials/res/#'
let cloud: SimulatedCloud
let hub: SimulatedHub
let root: TestAuthority
/** Runs ahead of the machine's clock by what a test adds. */
let ahead = 0
let devices = 0
const clients: mqtt.MqttClient[] = []

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'], now: () => Date.now() + ahead })
  hub = cloud.hub('hub-a')
  root = await TestAuthority.createRoot({ commonName: 'credentials test root' })
})
afterEach(() => {
  for (const client of clients.splice(0)) client.end(true)
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

/** A PKCS#10 request for a fresh key, in Base64. */
async function requestFor(commonName: string): Promise<{ readonly csr: string; readonly key: string }> {
  const { publicKey, privateKey, privateKeyPem } = await generateKeyFile()
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys: { publicKey, privateKey },
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  })
  return { csr: Buffer.from(request.rawData).toString('base64'), key: privateKeyPem }
}

interface Answer {
  readonly topic: string
  readonly body: JsonObject
}

/** A device on the credentials topics, with what it has been told so far. */
class Asking {
  readonly client: mqtt.MqttClient
  readonly #answers: Answer[] = []
  #waiting: ((answer: Answer) => void) | undefined

  constructor(client: mqtt.MqttClient) {
    this.client = client
    client.on('message', (topic: string, payload: Buffer) => {
      const answer = { topic, body: JSON.parse(payload.toString()) as JsonObject }
      if (this.#waiting === undefined) this.#answers.push(answer)
      else this.#waiting(answer)
      this.#waiting = undefined
    })
  }

  ask(requestId: string, body: unknown): void {
    this.publish(`$rid=${requestId}`, typeof body === 'string' ? body : JSON.stringify(body))
  }

  publish(query: string, body: string): void {
    this.client.publish(`$iothub/credentials/POST/issueCertificate/?${query}`, body, { qos: 1 })
  }

  async next(): Promise<Answer> {
    const first = this.#answers.shift()
    return first ?? new Promise((resolve) => (this.#waiting = resolve))
  }
}

async function asking(
  device: Device,
  options: { clean?: boolean; subscribe?: boolean } = {},
): Promise<Asking> {
  const client = bareClient(cloud, device, {
    clientId: device.id,
    username: `${hub.hostName}/${device.id}/?api-version=2025-08-01-preview`,
    clean: options.clean ?? true,
  })
  clients.push(client)
  const asker = new Asking(client)
  await once(client, 'connect')
  if (options.subscribe !== false) await new Promise((done) => client.subscribe(results, { qos: 1 }, done))
  return asker
}

const topicOf = (status: number, requestId: string): string =>
  `$iothub/credentials/res/${status}/?$rid=${requestId}`

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
    const certificates = second.body['certificates'] as string[]
    expect(certificates).toHaveLength(3)
    const chain = certificates
      .map(
        (der) =>
          `-----BEGIN CERTIFICATE-----\n${der.replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
      )
      .join('')
    const gone = cloud.waitFor('deviceDisconnected', ({ deviceId }) => deviceId === device.id)
    asker.client.end()
    await gone
    await asking({ ...device, chain, key })
    expect(hub.registry.get(device.id)?.connectionState).toBe('Connected')
    hub.revokeIssued(device.id)
    hub.disconnect(device.id)
    const refused = cloud.waitFor('connectRefused')
    clients.push(
      bareClient(
        cloud,
        { ...device, chain, key },
        {
          clientId: device.id,
          username: `${hub.hostName}/${device.id}/?api-version=2025-08-01-preview`,
        },
      ),
    )
    expect(await refused).toMatchObject({ deviceId: device.id, errorCode: 401003 })
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
    ['is no JSON', () => '{', 400006],
    ['is empty', () => '', 400006],
    ['is no object', () => [], 400004],
    ['is null', () => null, 400004],
    ['names no device', (_id, csr) => ({ csr }), 400004],
    ['names another device', (_id, csr) => ({ id: 'other', csr }), 400004],
    ['has no request', (id) => ({ id }), 400004],
    ['has an empty request', (id) => ({ id, csr: '' }), 400004],
    ['has a number for a request', (id) => ({ id, csr: 7 }), 400004],
    ['has a request that is no Base64', (id) => ({ id, csr: '-----BEGIN' }), 400004],
    ['has a request above 8 KB', (id) => ({ id, csr: 'A'.repeat(8 * 1024 + 4) }), 400004],
    ['has a number for what to replace', (id, csr) => ({ id, csr, replace: 7 }), 400004],
    ['replaces what is not there', (id, csr) => ({ id, csr, replace: 'rid-9' }), 412001],
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
  it.each<[string, (id: string) => Promise<string>, number, string]>([
    ['cannot be decoded', async () => Promise.resolve('AAAA'), 400037, 'FailedToDecodeCsr'],
    ['names another device', async () => (await requestFor('other')).csr, 400040, 'SubjectMismatch'],
    [
      'is not signed by its key',
      async (id) => {
        const der = Buffer.from((await requestFor(id)).csr, 'base64')
        der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1)
        return der.toString('base64')
      },
      400040,
      'InvalidCsrSignature',
    ],
  ])('when it %s', async (_what, makeCsr, errorCode, credentialError) => {
    const device = await newDevice()
    const asker = await asking(device)
    asker.ask('rid-1', { id: device.id, csr: await makeCsr(device.id) })
    const { correlationId } = (await asker.next()).body
    const { topic, body } = await asker.next()
    expect(topic).toBe(topicOf(400, 'rid-1'))
    expect(body).toMatchObject({ errorCode, info: { correlationId, credentialError, requestId: 'rid-1' } })
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

describe('one operation at a time', () => {
  /** A device whose first request, rid-1, is stuck. */
  async function stuck(options: { clean?: boolean } = {}): Promise<[Asking, Device, string]> {
    const device = await newDevice()
    const asker = await asking(device, options)
    const { csr } = await requestFor(device.id)
    hub.credentials.control.faults.arm({ kind: 'stick' })
    asker.ask('rid-1', { id: device.id, csr })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-1'))
    return [asker, device, csr]
  }

  it('refuses a second one, and names the first', async () => {
    const [asker, { id }, csr] = await stuck()
    asker.ask('rid-2', { id, csr })
    expect((await asker.next()).body).toMatchObject({ errorCode: 409005, info: { requestId: 'rid-1' } })
    hub.credentials.releaseStuck()
    expect((await asker.next()).topic).toBe(topicOf(200, 'rid-1'))
  })

  it('refuses the same one again', async () => {
    const [asker, { id }, csr] = await stuck()
    asker.ask('rid-1', { id, csr })
    expect((await asker.next()).body).toMatchObject({ errorCode: 409004 })
  })

  it.each(['*', 'rid-1'])('lets one take its place by replace %s', async (replace) => {
    const [asker, { id }, csr] = await stuck()
    asker.ask('rid-2', { id, csr, replace })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-2'))
    expect((await asker.next()).topic).toBe(topicOf(200, 'rid-2'))
    hub.credentials.releaseStuck()
    expect(hub.credentials.active(id)).toBeUndefined()
  })

  it('does not replace another than the active one', async () => {
    const [asker, { id }, csr] = await stuck()
    asker.ask('rid-2', { id, csr, replace: 'rid-7' })
    expect((await asker.next()).body).toMatchObject({ errorCode: 412001 })
    expect(hub.credentials.active(id)?.requestId).toBe('rid-1')
  })

  it('gives up what has expired', async () => {
    const [asker, { id }, csr] = await stuck()
    ahead += 12 * 60 * 60 * 1000
    hub.clockChanged()
    expect(hub.credentials.active(id)).toBeUndefined()
    asker.ask('rid-2', { id, csr })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-2'))
  })

  it('keeps the result for a device that comes back with its session', async () => {
    const [asker, device] = await stuck({ clean: false })
    const gone = cloud.waitFor('deviceDisconnected', ({ deviceId }) => deviceId === device.id)
    asker.client.end(true)
    await gone
    const answered = cloud.waitFor('credentialAnswered', ({ deviceId }) => deviceId === device.id)
    hub.credentials.releaseStuck()
    expect(await answered).toMatchObject({ status: 200, isFinal: true })
    const back = await asking(device, { clean: false, subscribe: false })
    expect((await back.next()).topic).toBe(topicOf(200, 'rid-1'))
  })

  it('ends with its device', async () => {
    const [, { id }] = await stuck()
    hub.registry.delete(id)
    expect(hub.credentials.active(id)).toBeUndefined()
  })
})

describe('a request that is dropped', () => {
  it.each(['', '$rid=', '$rid=abc', '$rid=-abcd', '$rid=abcd-', '$rid=ab_cd', `$rid=${'a'.repeat(37)}`])(
    'with the query "%s"',
    async (query) => {
      const device = await newDevice()
      const asker = await asking(device)
      asker.publish(query, JSON.stringify({ id: device.id, csr: 'AAAA' }))
      // Answers come in order, so the next one would be that of the dropped request.
      asker.ask('rid-2', '{')
      expect((await asker.next()).topic).toBe(topicOf(400, 'rid-2'))
    },
  )
})
