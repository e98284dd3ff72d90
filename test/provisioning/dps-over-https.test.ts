import { createHmac, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { ServerResponse } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { SimulatedCloud } from 'leafkeeper-sim'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { dpsOverHttps, type DpsHttpsOptions } from '../../src/provisioning/dps-over-https.ts'
import { dpsOverMqtt } from '../../src/provisioning/dps-over-mqtt.ts'
import type { ProvisioningService } from '../../src/provisioning/provisioning-service.ts'
import { Tpm } from '../../src/tpm/tpm.ts'
import { tpmCredential } from '../../src/tpm/tpm-credential.ts'
import type { TpmCredential } from '../../src/transport/credential.ts'
import { Swtpm } from '../support/swtpm.ts'
import { credentialOf, makeAuthority, type Authority } from '../transport/support/authority.ts'

const never = new AbortController().signal

describe('with a TPM and a simulated cloud', () => {
  let cloud: SimulatedCloud
  beforeAll(async () => {
    cloud = await SimulatedCloud.start()
  })
  afterAll(() => cloud.close())

  function service(): ProvisioningService {
    const { provisioningHost, idScope, trustedAuthorities, connectTo } = cloud
    return dpsOverHttps({ provisioningHost, idScope, trustedAuthorities, connectTo, pollingIntervalMs: 1 })
  }

  async function enrolledTpm(registrationId: string): Promise<TpmCredential> {
    const swtpm = await Swtpm.start()
    const tpm = await Tpm.open({ address: swtpm.address })
    onTestFinished(() => tpm.close())
    const { endorsementKey } = await tpm.publicKeys()
    cloud.dps.enrollments.put({
      registrationId,
      attestation: { type: 'tpm', endorsementKey: endorsementKey.toString('base64') },
    })
    return tpmCredential({ tpm, registrationId, now: Date.now, lifetimeMs: 60_000 })
  }

  it('registers, and has the hub’s key in the TPM afterwards', async () => {
    const credential = await enrolledTpm('gateway-1')
    const { assignedHub, deviceId, substatus } = await service().register(credential, never)
    expect({ deviceId, substatus }).toEqual({ deviceId: 'gateway-1', substatus: 'initialAssignment' })
    const { authentication } = cloud.hub(assignedHub).registry.get('gateway-1') ?? {}
    const key = Buffer.from(authentication?.symmetricKey?.primaryKey ?? '', 'base64')
    const { token } = await credential.sharedAccessSignature(`${assignedHub}/devices/gateway-1`)
    const [, name = '', signature = '', expiry = ''] =
      /^SharedAccessSignature sr=([^&]+)&sig=([^&]+)&se=(\d+)$/.exec(token.reveal()) ?? []
    expect(decodeURIComponent(name)).toBe(`${assignedHub}/devices/gateway-1`)
    expect(decodeURIComponent(signature)).toBe(
      createHmac('sha256', key).update(`${name}\n${expiry}`).digest('base64'),
    )
  })

  it('is refused where the enrollment holds another TPM, is disabled, or is not there', async () => {
    const credential = await enrolledTpm('gateway-2')
    const unauthorized = { code: 'DPS_UNAUTHORIZED', reason: '401002' }
    const other = await enrolledTpm('gateway-3')
    const disguised = { ...other, registrationId: 'gateway-2' }
    await expect(service().register(disguised, never)).rejects.toMatchObject(unauthorized)
    const { attestation } = cloud.dps.enrollments.get('gateway-2') ?? {}
    if (attestation === undefined) throw new Error('The enrollment was just made.')
    cloud.dps.enrollments.put({
      registrationId: 'gateway-2',
      attestation,
      provisioningStatus: 'disabled',
    })
    await expect(service().register(credential, never)).rejects.toMatchObject({ retryable: false })
    cloud.dps.enrollments.delete('gateway-2')
    await expect(service().register(credential, never)).rejects.toMatchObject(unauthorized)
  })

  it.each([
    ['dps-throttled', { code: 'DPS_THROTTLED', retryAfterMs: 1_000 }],
    ['dps-error', { code: 'DPS_UNAVAILABLE', retryable: true }],
    ['dps-dropped', { code: 'NETWORK_UNREACHABLE', retryable: true }],
    ['dps-answer-lost', { code: 'NETWORK_UNREACHABLE', retryable: true }],
  ] as const)('meets %s', async (fault, expected) => {
    const credential = await enrolledTpm(`gateway-${fault}`)
    cloud.faults.set(fault, { times: 1 })
    await expect(service().register(credential, never)).rejects.toMatchObject(expected)
    expect(await service().register(credential, never)).toMatchObject({ deviceId: `gateway-${fault}` })
  })
})

describe('with answers that nobody expects', () => {
  const challenge = {
    message: 'Authorization required.',
    authenticationKey: 'Y2hhbGxlbmdl',
    keyName: 'registration',
  }
  const assigning = { operationId: '5.1', status: 'assigning' }
  const state = { assignedHub: 'hub-a.azure-devices.net', deviceId: 'gateway-1' }
  const assigned = {
    operationId: '5.1',
    status: 'assigned',
    registrationState: { ...state, tpm: { authenticationKey: 'aHVi' } },
  }

  type Step =
    | readonly [status: number, body: unknown, headers?: Readonly<Record<string, string>>]
    | 'cut'
    | 'noise'
    | 'silence'
  let authority: Authority
  beforeAll(async () => {
    authority = await makeAuthority()
  })

  /** A DPS that gives these answers one after the other; the last one again and again. */
  async function scripted(steps: readonly Step[], options: Partial<DpsHttpsOptions> = {}) {
    const asked: {
      method?: string | undefined
      url?: string | undefined
      authorization?: string | undefined
    }[] = []
    const { key, certificate } = await authority.server(['dps.example.net'])
    const server = createServer({ key, cert: certificate }, ({ method, url, headers }, response) => {
      asked.push({ method, url, authorization: headers.authorization })
      answer(response, steps[Math.min(asked.length, steps.length) - 1] ?? 'cut')
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    onTestFinished(() => {
      server.closeAllConnections()
      server.close()
    })
    const { port } = server.address() as AddressInfo
    const service = dpsOverHttps({
      provisioningHost: 'dps.example.net',
      idScope: '0ne00000A0A',
      trustedAuthorities: authority.certificate,
      connectTo: { 'dps.example.net': `127.0.0.1:${port}` },
      pollingIntervalMs: 1,
      ...options,
    })
    return { asked, service, server }
  }

  function answer(response: ServerResponse, step: Step): void {
    if (step === 'silence') return
    if (step === 'noise') return void response.socket?.end('SSH-2.0-OpenSSH_9.2\r\n')
    if (step === 'cut') return void response.socket?.destroy()
    const [status, body, headers = {}] = step
    response.writeHead(status, { 'content-type': 'application/json', ...headers })
    response.end(typeof body === 'string' ? body : JSON.stringify(body))
  }

  /** A TPM that takes everything in, and remembers it. */
  function agreeable() {
    const taken: string[] = []
    const tpm = {
      publicKeys: () => Promise.resolve({ endorsementKey: randomBytes(8), storageRootKey: randomBytes(8) }),
      activate: (blob: Buffer) => {
        taken.push(blob.toString())
        return Promise.resolve()
      },
      sign: () => Promise.resolve(randomBytes(32)),
    }
    return {
      taken,
      credential: tpmCredential({ tpm, registrationId: 'gateway-1', now: Date.now, lifetimeMs: 60_000 }),
    }
  }

  it('polls until DPS has assigned, with the same signature', async () => {
    const { service, asked } = await scripted([
      [401, challenge],
      [202, assigning],
      [202, assigning, { 'retry-after': '0' }],
      [200, assigned],
    ])
    const { credential, taken } = agreeable()
    expect(await service.register(credential, never)).toMatchObject(state)
    expect(taken).toEqual(['challenge', 'hub'])
    const registration = '/0ne00000A0A/registrations/gateway-1'
    expect(asked.map(({ method, url }) => `${method} ${url}`)).toEqual([
      `PUT ${registration}/register?api-version=2021-06-01`,
      `PUT ${registration}/register?api-version=2021-06-01`,
      `GET ${registration}/operations/5.1?api-version=2021-06-01`,
      `GET ${registration}/operations/5.1?api-version=2021-06-01`,
    ])
    expect(asked[0]?.authorization).toBeUndefined()
    expect(asked[1]?.authorization).toMatch(
      /^SharedAccessSignature sr=0ne00000A0A%2Fregistrations%2Fgateway-1&sig=[^&]+&se=\d+&skn=registration$/,
    )
    expect(new Set(asked.slice(1).map(({ authorization }) => authorization)).size).toBe(1)
  })

  it('registers again while DPS says that it is registering', async () => {
    const { service, asked } = await scripted([
      [401, challenge],
      [202, { status: 'registering' }],
      [200, assigned],
    ])
    await service.register(agreeable().credential, never)
    expect(asked.map(({ method }) => method)).toEqual(['PUT', 'PUT', 'PUT'])
  })

  const error = { errorCode: 401002, trackingId: 't', message: 'Unauthorized' }
  it.each<[what: string, steps: readonly Step[], expected: object]>([
    ['a refusal without a challenge', [[401, error]], { code: 'DPS_UNAUTHORIZED', reason: '401002' }],
    ['an empty challenge', [[401, { ...challenge, authenticationKey: '' }]], { code: 'DPS_UNAUTHORIZED' }],
    ['a challenge that is no text', [[401, '<html>']], { code: 'DPS_UNAUTHORIZED' }],
    ['no challenge', [[202, assigning]], { code: 'PROTOCOL_ERROR' }],
    ['another scope', [[404, { errorCode: 404201, message: 'Not found' }]], { code: 'DPS_NOT_FOUND' }],
    ['a redirection', [[302, '', { location: 'https://example.net' }]], { code: 'PROTOCOL_ERROR' }],
    ['throttling', [[429, error, { 'retry-after': '7' }]], { code: 'DPS_THROTTLED', retryAfterMs: 7_000 }],
    [
      'a failing service',
      [
        [401, challenge],
        [503, ''],
      ],
      { code: 'DPS_UNAVAILABLE', retryable: true },
    ],
    [
      'a second challenge',
      [
        [401, challenge],
        [401, challenge],
      ],
      { code: 'DPS_UNAUTHORIZED' },
    ],
    [
      'an answer that is not JSON',
      [
        [401, challenge],
        [200, '{'],
      ],
      { code: 'PROTOCOL_ERROR' },
    ],
    [
      'a failed assignment',
      [
        [401, challenge],
        [200, { status: 'failed', registrationState: { errorCode: 400207 } }],
      ],
      { code: 'DPS_REGISTRATION_FAILED' },
    ],
    [
      'no key for the hub',
      [
        [401, challenge],
        [200, { ...assigned, registrationState: state }],
      ],
      { code: 'PROTOCOL_ERROR' },
    ],
    ['an endless body', [[401, 'x'.repeat(300_000)]], { code: 'PROTOCOL_ERROR' }],
    ['an end in the middle', [[401, challenge], 'cut'], { code: 'NETWORK_UNREACHABLE', retryable: true }],
    ['something that is not HTTP', [[401, challenge], 'noise'], { code: 'PROTOCOL_ERROR', retryable: true }],
    ['silence', [[401, challenge], 'silence'], { code: 'NETWORK_TIMEOUT', retryable: true }],
    [
      'an assignment that never comes',
      [
        [401, challenge],
        [202, assigning],
      ],
      { code: 'NETWORK_TIMEOUT' },
    ],
  ])('says what is wrong with %s', async (_what, steps, expected) => {
    const { service } = await scripted(steps, { answerTimeoutMs: 500, registrationTimeoutMs: 200 })
    await expect(service.register(agreeable().credential, never)).rejects.toMatchObject(expected)
  })

  it.each<[when: string, steps: readonly Step[]]>([
    ['waits for an answer', ['silence']],
    [
      'waits to ask again',
      [
        [401, challenge],
        [202, assigning, { 'retry-after': '3600' }],
      ],
    ],
  ])('lets go at once where it is told to while it %s', async (_when, steps) => {
    const { service, server, asked } = await scripted(steps, { registrationTimeoutMs: 7_200_000 })
    const stop = new AbortController()
    server.on('request', (_request, response: ServerResponse) => {
      const last = asked.length === steps.length
      if (steps.at(-1) === 'silence') stop.abort(new Error('enough'))
      else if (last) response.on('finish', () => setImmediate(() => stop.abort(new Error('enough'))))
    })
    await expect(service.register(agreeable().credential, stop.signal)).rejects.toThrow('enough')
  })

  it('takes no certificate, and MQTT takes no TPM', async () => {
    const { service } = await scripted(['cut'])
    const certificate = credentialOf('gateway-1', await authority.client('gateway-1'))
    const invalid = { code: 'AGENT_CONFIG_INVALID' }
    await expect(service.register(certificate, never)).rejects.toMatchObject(invalid)
    const overMqtt = dpsOverMqtt({ provisioningHost: 'dps.example.net', idScope: '0ne' })
    await expect(overMqtt.register(agreeable().credential, never)).rejects.toMatchObject(invalid)
    expect(() => dpsOverHttps({ provisioningHost: 'https://dps', idScope: '0ne' })).toThrow(/host name/)
  })
})
