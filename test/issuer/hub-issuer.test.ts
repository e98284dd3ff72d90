/** Asking a simulated hub for certificates on a connection of the agent's own kind; by the scenarios of the preview's guide. */
import { once } from 'node:events'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { generateKeyFile, SimulatedCloud, TestAuthority, type SimulatedHub } from 'leafkeeper-sim'
import type { DeviceId } from '../../src/brands.ts'
import { publicKeyOfRequest } from '../../src/certificate/request.ts'
import { checkIssuedChain } from '../../src/certificate/check-issued-chain.ts'
import type { CredentialAnswer, CredentialChannel } from '../../src/credential-channel.ts'
import { hubOverMqtt } from '../../src/hub/hub-over-mqtt.ts'
import type { HubConnection } from '../../src/hub/hub-transport.ts'
import { hubIssuer } from '../../src/issuer/hub-issuer.ts'
import type { IssueAnswer, IssueRequest } from '../../src/issuer/issuer.ts'
import type { DeviceCredential } from '../../src/transport/credential.ts'
import { bareClient, hubUserName } from '../sim/devices.ts'
import { credentialOf } from '../transport/support/authority.ts'
import { issueRequest } from './requests.ts'

let cloud: SimulatedCloud
let hub: SimulatedHub
let root: TestAuthority
let devices = 0
const never = new AbortController().signal
const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  hub = cloud.hub('hub-a')
  root = await TestAuthority.createRoot({ commonName: 'hub issuer tests' })
})
afterEach(() => {
  hub.credentials.control.faults.disarm()
  hub.credentials.releaseStuck()
})
afterAll(() => cloud.close())

interface Device {
  readonly id: DeviceId
  readonly credential: DeviceCredential
  readonly chain: string
  readonly key: string
}

async function newDevice(): Promise<Device> {
  devices += 1
  const id = `asking-${devices}` as DeviceId
  const { publicKey, privateKeyPem: key } = await generateKeyFile()
  const { chain, thumbprint } = await root.issueLeaf({ publicKey, commonName: id })
  hub.registry.create({
    deviceId: id,
    authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: thumbprint } },
  })
  return { id, chain, key, credential: credentialOf(id, { certificate: chain, key }) }
}

/** Connects as the agent does; the connection ends with the test. */
async function connect(
  { id, credential }: Device,
  apiVersion = hubIssuer().hubApiVersion ?? '',
): Promise<HubConnection & { readonly credentials: CredentialChannel }> {
  const transport = hubOverMqtt({ trustedAuthorities: cloud.trustedAuthorities, connectTo: cloud.connectTo })
  const prepared = await transport.prepare({ hub: hub.hostName, deviceId: id, apiVersion }, credential, never)
  const connection = await prepared.connect(() => ({ status: 404, payload: null }), never)
  onTestFinished(() => connection.close())
  if (connection.credentials === undefined) throw new Error('The connection has no credentials topics.')
  return Object.assign(connection, { credentials: connection.credentials })
}

const requestOn = (
  { id }: Device,
  channel: CredentialChannel,
  change: Parameters<typeof issueRequest>[0] = {},
): Promise<IssueRequest> => issueRequest({ commonName: id, hub: channel, ...change })

/** How often the hub has begun to work for a device. */
function accepted({ id }: Device): { readonly times: () => number } {
  let times = 0
  const count = ({ deviceId, status }: { readonly deviceId: string; readonly status: number }): void => {
    if (deviceId === id && status === 202) times += 1
  }
  cloud.events.on('credentialAnswered', count)
  onTestFinished(() => void cloud.events.off('credentialAnswered', count))
  return { times: () => times }
}

/** The hub has finished what was stuck. */
async function released({ id }: Device): Promise<void> {
  const ended = cloud.waitFor('credentialAnswered', ({ deviceId, isFinal }) => deviceId === id && isFinal)
  hub.credentials.releaseStuck()
  await ended
}

function chainIn(answer: IssueAnswer, request: IssueRequest): string {
  if (answer.kind !== 'issued') throw new Error('It is pending.')
  return checkIssuedChain({
    chain: answer.chain,
    publicKey: publicKeyOfRequest(request.csr),
    commonName: request.commonName,
    now: Date.now(),
    thumbprintsInUse: [],
  })
}

const impatient = { waitMs: 20, settleMs: 20 }

/** The hub has handed the device everything that waits for it, and knows that it has arrived. */
async function settled(connection: HubConnection): Promise<void> {
  await connection.send({ messageId: 'after what is on its way', body: '' })
  await connection.send({ messageId: 'after its acknowledgement', body: '' })
}

describe('what is sent', () => {
  it('001 to 010 and 014: an object with id, csr and replace, and a request id, all as the hub wants them', async () => {
    const sent: { readonly requestId: string; readonly body: unknown }[] = []
    const order: string[] = []
    let listener: (answer: CredentialAnswer) => void = () => undefined
    const channel: CredentialChannel = {
      deviceId: 'device-1' as DeviceId,
      ended: new Promise(() => undefined),
      listen: (_requestId, onAnswer) => {
        order.push('listen')
        listener = onAnswer
        return Promise.resolve(() => Promise.resolve())
      },
      request: (requestId, body) => {
        order.push('request')
        sent.push({ requestId, body: JSON.parse(body) })
        const busy = { errorCode: 409004, info: { requestId: 'somebody' } }
        const [status, answer] = sent.length === 1 ? [409, busy] : [200, { certificates: ['AQID'] }]
        listener({ status, requestId, body: Buffer.from(JSON.stringify(answer)) })
        return Promise.resolve()
      },
    }
    const request = await issueRequest({ hub: channel })
    await hubIssuer().submit(request)
    const csr = request.csr.replace(/-----[A-Z ]+-----|\n/g, '')
    expect(sent.map(({ body }) => body)).toEqual([
      { id: 'device-1', csr },
      { id: 'device-1', csr, replace: '*' },
    ])
    expect(csr).toMatch(/^[A-Za-z0-9+/]+=*$/)
    for (const { requestId } of sent) expect(requestId).toMatch(/^[A-Za-z0-9][A-Za-z0-9-]{2,34}[A-Za-z0-9]$/)
    expect(new Set(sent.map(({ requestId }) => requestId)).size).toBe(1)
    // 016 and 026: without a subscription a hub does not hear requests.
    expect(order).toEqual(['listen', 'request', 'request'])
  })

  it('005 CSR Exceeds 8KB: is refused before it is sent', async () => {
    const device = await newDevice()
    const { credentials } = await connect(device)
    const answers = accepted(device)
    const tooLong = `${'A'.repeat(9_000)}.example`
    const request = await requestOn(device, credentials, { alternativeName: tooLong })
    await expect(hubIssuer().submit(request)).rejects.toEqual(withCode('ISSUER_REFUSED'))
    expect(answers.times()).toBe(0)
  })
})

describe('a certificate that comes at once', () => {
  it('015 Single CSR Request, and 022 Sequential Requests', async () => {
    const device = await newDevice()
    const { credentials } = await connect(device)
    for (const requestId of ['roll-1', 'roll-2']) {
      const request = await requestOn(device, credentials, { requestId })
      const chain = chainIn(await hubIssuer().submit(request), request)
      // The leaf and who has signed it; the root is the hub's own affair.
      expect(chain.match(/BEGIN/g)).toHaveLength(2)
    }
  })

  it('leaves the connection to telemetry and direct methods as it was', async () => {
    const device = await newDevice()
    const connection = await connect(device)
    const request = await requestOn(device, connection.credentials)
    await hubIssuer().submit(request)
    const arrived = cloud.waitFor('telemetry', ({ deviceId }) => deviceId === device.id)
    await connection.send({ messageId: 'after', body: 'still here' })
    expect((await arrived).body.toString()).toBe('still here')
    expect(await hub.invokeMethod(device.id, { methodName: 'any' })).toMatchObject({ status: 404 })
  })
})

describe('a certificate that comes later', () => {
  /** A request that the hub has promised to answer, and a connection that the device has had until then. */
  async function promised(): Promise<{
    readonly device: Device
    readonly connection: Awaited<ReturnType<typeof connect>>
    readonly request: IssueRequest
    readonly ticket: string
    readonly answers: ReturnType<typeof accepted>
  }> {
    const device = await newDevice()
    const connection = await connect(device)
    const answers = accepted(device)
    hub.credentials.control.faults.arm({ kind: 'stick' })
    const request = await requestOn(device, connection.credentials)
    const answer = await hubIssuer({ ...impatient, retryAfterMs: 7_000 }).submit(request)
    if (answer.kind !== 'pending') throw new Error('Expected it to be pending.')
    expect(answer.retryAfterMs).toBe(7_000)
    return { device, connection, request, ticket: answer.ticket, answers }
  }

  it('is pending, and is handed over when it is asked for again', async () => {
    const { device, request, ticket, answers } = await promised()
    const issuer = hubIssuer(impatient)
    expect(await issuer.resume(ticket, request)).toMatchObject({ kind: 'pending', ticket })
    await released(device)
    chainIn(await issuer.resume(ticket, request), request)
    expect(answers.times()).toBe(1)
  })

  it('018 Resubscribe After Unsubscribe: is kept by the hub', async () => {
    const { device, connection, request, ticket, answers } = await promised()
    const stop = await connection.credentials.listen(ticket, () => undefined)
    await stop(true)
    await released(device)
    chainIn(await hubIssuer().resume(ticket, request), request)
    expect(answers.times()).toBe(1)
  })

  it('017 Unsubscribe After 202: is not handed over to who does not listen', async () => {
    const { device, connection, ticket } = await promised()
    const stop = await connection.credentials.listen(ticket, () => undefined)
    await stop(true)
    await released(device)
    await settled(connection)
    const [result] = hub.snapshot().results.filter(({ deviceId }) => deviceId === device.id)
    expect(result?.topic).toContain(ticket)
  })

  it('019 Reconnect with clean_session=false: is there before anybody asks', async () => {
    const { device, connection, request, ticket, answers } = await promised()
    await connection.close()
    await released(device)
    const back = await connect(device)
    await settled(back)
    expect(hub.snapshot().results.filter(({ deviceId }) => deviceId === device.id)).toEqual([])
    chainIn(await hubIssuer().resume(ticket, { ...request, hub: back.credentials }), request)
    expect(answers.times()).toBe(1)
  })

  it('020 and 021, reconnect with clean_session=true: is handed over when the device has subscribed anew', async () => {
    const { device, connection, request, ticket, answers } = await promised()
    await connection.close()
    // Somebody has begun anew in the meantime, so the hub has forgotten the session.
    const other = bareClient(
      cloud,
      { ...device, certificate: '', thumbprint: '' },
      { clientId: device.id, username: hubUserName(hub.hostName, device.id), clean: true },
    )
    await once(other, 'connect')
    await released(device)
    const back = await connect(device)
    await settled(back)
    expect(hub.snapshot().results.filter(({ deviceId }) => deviceId === device.id)).toHaveLength(1)
    chainIn(await hubIssuer().resume(ticket, { ...request, hub: back.credentials }), request)
    expect(answers.times()).toBe(1)
  })

  it('is asked for anew when the hub has given it up', async () => {
    const { device, request, ticket, answers } = await promised()
    hub.credentials.delete(device.id)
    chainIn(await hubIssuer({ ...impatient, waitMs: 5_000 }).resume(ticket, request), request)
    expect(answers.times()).toBe(2)
  })

  it('is taken up by a request that does not know that it was sent before', async () => {
    const { device, request, answers } = await promised()
    const asked = cloud.waitFor(
      'credentialAnswered',
      ({ deviceId, status }) => deviceId === device.id && status === 409,
    )
    const issued = hubIssuer().submit(request)
    await asked
    await released(device)
    chainIn(await issued, request)
    expect(answers.times()).toBe(1)
  })

  it('stays pending when the connection ends after the 202', async () => {
    const device = await newDevice()
    const connection = await connect(device)
    hub.credentials.control.faults.arm({ kind: 'stick' })
    const begun = cloud.waitFor('credentialAnswered', ({ deviceId }) => deviceId === device.id)
    const request = await requestOn(device, connection.credentials)
    const answer = hubIssuer().submit(request)
    await begun
    await settled(connection)
    hub.disconnect(device.id)
    expect(await answer).toMatchObject({ kind: 'pending' })
  })
})

describe('one request at a time', () => {
  it('023, 024 and 025: takes the place of another request', async () => {
    const device = await newDevice()
    const { credentials } = await connect(device)
    hub.credentials.control.faults.arm({ kind: 'stick' })
    const earlier = await requestOn(device, credentials, { requestId: 'roll-1' })
    expect(await hubIssuer(impatient).submit(earlier)).toMatchObject({ kind: 'pending' })
    const later = await requestOn(device, credentials, { requestId: 'roll-2' })
    chainIn(await hubIssuer().submit(later), later)
  })

  it('is not handed the certificate for an earlier key of the same roll', async () => {
    const device = await newDevice()
    const { credentials } = await connect(device)
    hub.credentials.control.faults.arm({ kind: 'stick' })
    const earlier = await requestOn(device, credentials, { requestId: 'roll-1' })
    const answer = await hubIssuer(impatient).submit(earlier)
    await released(device)
    const later = await requestOn(device, credentials, { requestId: 'roll-1' })
    const ticket = answer.kind === 'pending' ? answer.ticket : ''
    chainIn(await hubIssuer().resume(ticket, later), later)
  })
})

describe('a request that fails', () => {
  it.each<[errorCode: 429002 | 429003 | 500001 | 503001, retryAfterMs: number]>([
    [429002, 9_000],
    [429003, 1_000],
    [500001, 300_000],
    [503001, 5_000],
  ])('at once, with %i, is tried again after %i ms', async (errorCode, retryAfterMs) => {
    const device = await newDevice()
    const { credentials } = await connect(device)
    const asked = errorCode === 429002 ? { retryAfterSeconds: 9 } : {}
    hub.credentials.control.faults.arm({ kind: 'refuse', errorCode, ...asked })
    await expect(hubIssuer().submit(await requestOn(device, credentials))).rejects.toEqual(
      withCode('ISSUER_UNAVAILABLE', { retryable: true, retryAfterMs, reason: String(errorCode) }),
    )
  })

  it.each<400037 | 400040>([400037, 400040])(
    '012, after its 202, with %i, ends the roll',
    async (errorCode) => {
      const device = await newDevice()
      const { credentials } = await connect(device)
      hub.credentials.control.faults.arm({ kind: 'reject', errorCode, credentialError: 'PolicyDenied' })
      await expect(hubIssuer().submit(await requestOn(device, credentials))).rejects.toEqual(
        withCode('ISSUER_REFUSED', {
          reason: String(errorCode),
          message: expect.stringContaining('PolicyDenied') as string,
        }),
      )
    },
  )

  it('for another name, is refused by the hub', async () => {
    const device = await newDevice()
    const { credentials } = await connect(device)
    const request = await requestOn(device, credentials, { commonName: 'somebody' as DeviceId })
    await expect(hubIssuer().submit(request)).rejects.toEqual(
      withCode('ISSUER_REFUSED', { message: expect.stringContaining('SubjectMismatch') as string }),
    )
  })

  it('because the hub has no such topics, is tried again', async () => {
    const device = await newDevice()
    const { credentials } = await connect(device, '2021-04-12')
    await expect(hubIssuer().submit(await requestOn(device, credentials))).rejects.toMatchObject({
      retryable: true,
    })
  })

  it('because the hub says nothing, is tried again', async () => {
    const channel: CredentialChannel = {
      deviceId: 'device-1' as DeviceId,
      ended: new Promise(() => undefined),
      listen: () => Promise.resolve(() => Promise.resolve()),
      request: () => Promise.resolve(),
    }
    await expect(
      hubIssuer({ answerTimeoutMs: 20 }).submit(await issueRequest({ hub: channel })),
    ).rejects.toEqual(withCode('ISSUER_UNAVAILABLE', { message: expect.stringContaining('20 ms') as string }))
  })

  it('because its connection ends before the hub has heard it, is tried again', async () => {
    const device = await newDevice()
    const connection = await connect(device)
    const request = await requestOn(device, connection.credentials)
    await connection.close()
    await expect(hubIssuer().submit(request)).rejects.toMatchObject({ retryable: true })
  })

  it('because there is no connection, is tried again, unless there cannot be one yet', async () => {
    await expect(hubIssuer().submit(await issueRequest())).rejects.toEqual(withCode('ISSUER_UNAVAILABLE'))
    await expect(hubIssuer().submit(await issueRequest({ reason: 'bootstrap' }))).rejects.toEqual(
      withCode('AGENT_CONFIG_INVALID'),
    )
  })

  it('because it was given up, throws why', async () => {
    const device = await newDevice()
    const { credentials } = await connect(device)
    hub.credentials.control.faults.arm({ kind: 'stick' })
    const begun = cloud.waitFor('credentialAnswered', ({ deviceId }) => deviceId === device.id)
    const stop = new AbortController()
    const answer = hubIssuer().submit(await requestOn(device, credentials, { signal: stop.signal }))
    await begun
    stop.abort(new Error('enough'))
    await expect(answer).rejects.toThrow('enough')
  })
})

it.each([
  ['waitMs', { waitMs: 0 }],
  ['waitMs', { waitMs: 200_000 }],
  ['retryAfterMs', { retryAfterMs: Number.NaN }],
  ['answerTimeoutMs', { answerTimeoutMs: -1 }],
  ['settleMs', { settleMs: Infinity }],
])('a %s out of its range is refused', (name, options) => {
  expect(() => hubIssuer(options)).toThrow(name)
})
