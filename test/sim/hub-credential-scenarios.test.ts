/**
 * The scenarios of the guide that comes with the preview (iothub/device/src/csr-scenarions.md in the branch
 * feature/iot-csr-preview of azure-iot-sdk-csharp), each under its number. The guide has no 013, and two of 025.
 */
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority, type SimulatedHub } from 'leafkeeper-sim'
import { asking, requestFor, topicOf, type Asking } from './asking.ts'
import { createDevice, enrol, type Device } from './devices.ts'

let cloud: SimulatedCloud
let hub: SimulatedHub
let root: TestAuthority
let devices = 0

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  hub = cloud.hub('hub-a')
  root = await TestAuthority.createRoot({ commonName: 'scenarios root' })
})
afterEach(() => hub.credentials.control.faults.disarm())
afterAll(() => cloud.close())

async function newDevice(): Promise<Device & { readonly csr: string }> {
  devices += 1
  const device = await createDevice(root, `scenario-${devices}`)
  enrol(cloud, hub.hostName, device)
  return { ...device, csr: (await requestFor(device.id)).csr }
}

/** The device has gone, and the hub knows it. */
async function leave(asker: Asking, { id }: Device): Promise<void> {
  const gone = cloud.waitFor('deviceDisconnected', ({ deviceId }) => deviceId === id)
  asker.client.end(true)
  await gone
}

const stranger = 'db8c0f73-ac73-4b90-bba4-8a26ae2fcb27'

describe('what is refused at once', () => {
  it.each<[string, (id: string, csr: string) => unknown, number, RegExp]>([
    ['001 Empty Request Body', () => '', 400004, /nothing/],
    ['002 Malformed JSON', () => '{"id": "device", "csr":', 400006, /JSON/],
    ['003 JSON Array Instead of Object', () => ['not', 'an', 'object'], 400004, /object/],
    ['004 Empty CSR', (id) => ({ id, csr: '' }), 400004, /"csr"/],
    ['005 CSR Exceeds 8KB', (id) => ({ id, csr: 'A'.repeat(10 * 1024) }), 400004, /8192/],
    ['006 Invalid Base64', (id) => ({ id, csr: 'not-valid-base64!!@@##' }), 400004, /Base64/],
    ['007 Device ID Mismatch', (_id, csr) => ({ id: 'wrong-device', csr }), 400004, /"id"/],
    ['008 Empty Device ID', (_id, csr) => ({ id: '', csr }), 400004, /"id"/],
    ['009 Unknown Field', (id, csr) => ({ id, csr, unknownField: 'value' }), 400004, /"unknownField"/],
    ['010 Invalid Format of replace', (id, csr) => ({ id, csr, replace: '123' }), 400004, /"replace"/],
    ['011 Non-existent Request ID', (id, csr) => ({ id, csr, replace: stranger }), 412001, /no active/],
  ])('%s', async (scenario, body, errorCode, message) => {
    const device = await newDevice()
    const asker = await asking(cloud, hub, device)
    asker.ask('156089087', body(device.id, device.csr))
    const answer = await asker.next()
    expect(answer.topic).toBe(topicOf(Math.trunc(errorCode / 1000), '156089087'))
    expect(answer.body).toMatchObject({
      errorCode,
      message: expect.stringMatching(message) as string,
      trackingId: expect.any(String) as string,
      timestampUtc: expect.any(String) as string,
    })
    if (scenario.startsWith('011')) expect(answer.body['info']).toEqual({ requestId: stranger })
    expect(hub.credentials.active(device.id)).toBeUndefined()
  })
})

it('012 Malformed PKCS#10 (Backend)', async () => {
  const device = await newDevice()
  const asker = await asking(cloud, hub, device)
  asker.ask('rid-012', { id: device.id, csr: 'TU9DSyBDU1I=' })
  expect((await asker.next()).topic).toBe(topicOf(202, 'rid-012'))
  expect(await asker.next()).toMatchObject({
    topic: topicOf(400, 'rid-012'),
    body: {
      errorCode: 400037,
      info: { credentialError: '400000', credentialMessage: 'CSR did not pass verification' },
    },
  })
})

it.each(['', '?', '?$rid='])('014 Missing $rid: "issueCertificate/%s"', async (rest) => {
  const device = await newDevice()
  const asker = await asking(cloud, hub, device)
  asker.publish(rest, JSON.stringify({ id: device.id, csr: device.csr }))
  await asker.settled()
  expect(asker.untaken).toBe(0)
  expect(hub.credentials.active(device.id)).toBeUndefined()
})

it('015 Single CSR Request', async () => {
  const device = await newDevice()
  const asker = await asking(cloud, hub, device)
  asker.ask('156089087', { id: device.id, csr: device.csr })
  const accepted = await asker.next()
  expect(accepted).toMatchObject({
    topic: topicOf(202, '156089087'),
    body: {
      correlationId: expect.any(String) as string,
      operationExpires: expect.stringMatching(/^20.*Z$/) as string,
    },
  })
  const issued = await asker.next()
  expect(issued).toMatchObject({
    topic: topicOf(200, '156089087'),
    body: { correlationId: accepted.body['correlationId'] },
  })
  expect(issued.body['certificates']).toHaveLength(3)
})

describe('subscriptions', () => {
  it.each(['016 Never Subscribe', '026 Send Before Subscribe'])('%s', async (scenario) => {
    const device = await newDevice()
    const asker = await asking(cloud, hub, device, { subscribe: false })
    asker.ask('rid-016', { id: device.id, csr: device.csr })
    if (scenario.startsWith('026')) await asker.subscribe()
    await asker.settled()
    expect(asker.untaken).toBe(0)
    expect(hub.credentials.active(device.id)).toBeUndefined()
  })

  /** A device whose request is accepted and whose certificate is issued only when it is asked for. */
  async function accepted(clean = true): Promise<{
    readonly asker: Asking
    readonly device: Device
    readonly issued: () => Promise<void>
  }> {
    const device = await newDevice()
    const asker = await asking(cloud, hub, device, { clean })
    hub.credentials.control.faults.arm({ kind: 'stick' })
    asker.ask('rid-0202', { id: device.id, csr: device.csr })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-0202'))
    const issued = async (): Promise<void> => {
      const answered = cloud.waitFor('credentialAnswered', ({ deviceId }) => deviceId === device.id)
      hub.credentials.releaseStuck()
      expect(await answered).toMatchObject({ status: 200, isFinal: true })
    }
    return { asker, device, issued }
  }

  it('017 Unsubscribe After 202', async () => {
    const { asker, issued } = await accepted()
    await asker.unsubscribe()
    await issued()
    await asker.settled()
    expect(asker.untaken).toBe(0)
  })

  it('018 Resubscribe After Unsubscribe', async () => {
    const { asker, issued } = await accepted()
    await asker.unsubscribe()
    await issued()
    await asker.subscribe()
    expect((await asker.next()).topic).toBe(topicOf(200, 'rid-0202'))
  })

  it('019 Reconnect with clean_session=false', async () => {
    const { asker, device, issued } = await accepted(false)
    await leave(asker, device)
    await issued()
    const back = await asking(cloud, hub, device, { clean: false, subscribe: false })
    expect((await back.next()).topic).toBe(topicOf(200, 'rid-0202'))
  })

  it('020 Reconnect with clean_session=true + Resubscribe', async () => {
    const { asker, device, issued } = await accepted()
    await leave(asker, device)
    await issued()
    const back = await asking(cloud, hub, device)
    expect((await back.next()).topic).toBe(topicOf(200, 'rid-0202'))
    await back.settled()
    // Taken once, it does not come again.
    await back.unsubscribe()
    await back.subscribe()
    await back.settled()
    expect(back.untaken).toBe(0)
  })

  it('021 Reconnect with clean_session=true (no resubscribe)', async () => {
    const { asker, device, issued } = await accepted()
    await leave(asker, device)
    const back = await asking(cloud, hub, device, { subscribe: false })
    await issued()
    await back.settled()
    expect(back.untaken).toBe(0)
  })
})

describe('one operation at a time', () => {
  it('022 Sequential Requests', async () => {
    const device = await newDevice()
    const asker = await asking(cloud, hub, device)
    for (const requestId of ['rid-1', 'rid-2']) {
      asker.ask(requestId, { id: device.id, csr: device.csr })
      expect((await asker.next()).topic).toBe(topicOf(202, requestId))
      expect((await asker.next()).topic).toBe(topicOf(200, requestId))
    }
  })

  it('023 Concurrent Requests', async () => {
    const device = await newDevice()
    const asker = await asking(cloud, hub, device)
    hub.credentials.control.faults.arm({ kind: 'delay', delayMs: 50 })
    asker.ask('rid-1', { id: device.id, csr: device.csr })
    asker.ask('rid-2', { id: device.id, csr: device.csr })
    const answers = [await asker.next(), await asker.next(), await asker.next()]
    expect(answers.map(({ topic }) => topic)).toEqual([
      topicOf(202, 'rid-1'),
      topicOf(409, 'rid-2'),
      topicOf(200, 'rid-1'),
    ])
  })

  /** A device whose first request, rid-1, is worked on for ever. */
  async function busy(): Promise<{
    readonly asker: Asking
    readonly device: Device & { readonly csr: string }
    readonly first: Readonly<Record<string, unknown>>
  }> {
    const device = await newDevice()
    const asker = await asking(cloud, hub, device)
    hub.credentials.control.faults.arm({ kind: 'stick' })
    asker.ask('rid-1', { id: device.id, csr: device.csr })
    return { asker, device, first: (await asker.next()).body }
  }

  it('024 Request After 202 (no replace)', async () => {
    const { asker, device, first } = await busy()
    asker.ask('rid-2', { id: device.id, csr: device.csr })
    expect(await asker.next()).toMatchObject({
      topic: topicOf(409, 'rid-2'),
      body: { errorCode: 409004, info: { requestId: 'rid-1', ...first } },
    })
  })

  it.each(['rid-1', '*'])('025 Request with replace=%s', async (replace) => {
    const { asker, device } = await busy()
    asker.ask('rid-2', { id: device.id, csr: device.csr, replace })
    expect((await asker.next()).topic).toBe(topicOf(202, 'rid-2'))
    expect((await asker.next()).topic).toBe(topicOf(200, 'rid-2'))
    hub.credentials.releaseStuck()
    await asker.settled()
    expect(asker.untaken).toBe(0)
  })
})
