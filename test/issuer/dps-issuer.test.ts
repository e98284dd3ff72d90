import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest'
import { SimulatedCloud, type IndividualEnrollment } from 'leafkeeper-sim'
import type { DeviceId } from '../../src/brands.ts'
import { checkIssuedChain } from '../../src/certificate/check-issued-chain.ts'
import { publicKeyOfRequest } from '../../src/certificate/request.ts'
import { dpsIssuer, type DpsIssuerOptions } from '../../src/issuer/dps-issuer.ts'
import type { IssueAnswer, IssueRequest, Issuer } from '../../src/issuer/issuer.ts'
import { dpsOverMqtt } from '../../src/provisioning/dps-over-mqtt.ts'
import type { OnboardingCredential } from '../../src/provisioning/onboarding.ts'
import { Secret } from '../../src/secret.ts'
import { assigned, assigning, scriptedDps, type Question } from '../provisioning/support/scripted-dps.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { credentialOf, makeAuthority, type Authority } from '../transport/support/authority.ts'
import { issueRequest } from './requests.ts'

const never = new AbortController().signal
const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })
const someKey = Buffer.alloc(32, 9).toString('base64')
const keyOf = (text: string): OnboardingCredential => ({
  symmetricKey: { callback: () => new Secret(text) },
})

describe('at the simulated service', () => {
  let cloud: SimulatedCloud
  let devices = 0

  beforeAll(async () => {
    cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  })
  afterEach(() => cloud.faults.clear())
  afterAll(() => cloud.close())

  /** A device whose entry has a symmetric key, and a policy unless it is told otherwise. */
  function newDevice(entry: Partial<IndividualEnrollment> = { credentialPolicyName: 'default' }): {
    readonly id: DeviceId
    readonly onboarding: OnboardingCredential
  } {
    devices += 1
    const id = `onboarding-${devices}` as DeviceId
    cloud.dps.enrollments.put({
      registrationId: id,
      attestation: { type: 'symmetricKey', primaryKey: someKey },
      ...entry,
    })
    return { id, onboarding: keyOf(someKey) }
  }

  const options = (onboarding: OnboardingCredential): DpsIssuerOptions => ({
    provisioningHost: cloud.provisioningHost,
    idScope: cloud.idScope,
    trustedAuthorities: cloud.trustedAuthorities,
    connectTo: cloud.connectTo,
    onboarding,
  })

  /** Asks until there is an answer; each time as a new process would, which has the ticket and nothing else. */
  async function issued(issuer: () => Issuer, request: IssueRequest): Promise<string> {
    let answer: IssueAnswer = await issuer().submit(request)
    while (answer.kind === 'pending') answer = await issuer().resume(answer.ticket, request)
    return checkIssuedChain({
      chain: answer.chain,
      publicKey: publicKeyOfRequest(request.csr),
      commonName: request.commonName,
      now: Date.now(),
      thumbprintsInUse: [],
    })
  }

  it('gives the leaf and who has signed it, by one registration for each', async () => {
    const { id, onboarding } = newDevice()
    for (const count of [1, 2]) {
      const request = await issueRequest({ commonName: id, reason: 'bootstrap' })
      expect((await issued(() => dpsIssuer(options(onboarding)), request)).match(/BEGIN/g)).toHaveLength(2)
      expect(cloud.dps.registrationCount(id)).toBe(count)
    }
  })

  it('is pending with a ticket and the pause that DPS asks for, until the certificate is there', async () => {
    const { id, onboarding } = newDevice()
    const issuer = dpsIssuer(options(onboarding))
    const request = await issueRequest({ commonName: id })
    cloud.faults.set('issuance-stuck')
    const answer = await issuer.submit(request)
    expect(answer).toEqual({ kind: 'pending', ticket: expect.any(String) as string, retryAfterMs: 0 })
    const ticket = answer.kind === 'pending' ? answer.ticket : ''
    expect(await issuer.resume(ticket, request)).toEqual(answer)
    const decided = cloud.waitFor('registration', ({ registrationId }) => registrationId === id)
    cloud.faults.clear('issuance-stuck')
    await decided
    // A process that has the ticket and nothing else.
    expect(await dpsIssuer(options(onboarding)).resume(ticket, request)).toMatchObject({ kind: 'issued' })
    // An answer that was lost is asked for again.
    expect(await issuer.resume(ticket, request)).toMatchObject({ kind: 'issued' })
    expect(cloud.dps.registrationCount(id)).toBe(1)
  })

  it('registers again when DPS knows nothing of the operation any more', async () => {
    const { id, onboarding } = newDevice()
    const issuer = dpsIssuer(options(onboarding))
    const request = await issueRequest({ commonName: id })
    expect(await issuer.resume('5.506603669bd3e2bf.1', request)).toMatchObject({ kind: 'pending' })
    await issued(() => issuer, request)
  })

  it.each<[what: string, device: () => ReturnType<typeof newDevice>, code: string, reason: string]>([
    ['the entry has no policy', () => newDevice({}), 'DPS_REFUSED', '400000'],
    [
      'the key is another one',
      () => ({ ...newDevice(), onboarding: keyOf(Buffer.alloc(32, 1).toString('base64')) }),
      'DPS_UNAUTHORIZED',
      '401002',
    ],
    [
      'the entry is disabled',
      () => newDevice({ credentialPolicyName: 'default', provisioningStatus: 'disabled' }),
      'DPS_UNAUTHORIZED',
      '401002',
    ],
    [
      'the policy is gone',
      () => {
        cloud.credentialPolicies.put({ name: 'gone', validityDays: 7 })
        const device = newDevice({ credentialPolicyName: 'gone' })
        cloud.credentialPolicies.delete('gone')
        return device
      },
      'DPS_REGISTRATION_FAILED',
      '400213',
    ],
  ])('ends the roll when %s', async (_what, device, code, reason) => {
    const { id, onboarding } = device()
    const request = await issueRequest({ commonName: id })
    await expect(issued(() => dpsIssuer(options(onboarding)), request)).rejects.toEqual(
      withCode(code, { retryable: false, reason }),
    )
  })

  it.each<[fault: 'dps-throttled' | 'dps-error' | 'dps-dropped' | 'dps-answer-lost', code: string]>([
    ['dps-throttled', 'DPS_THROTTLED'],
    ['dps-error', 'DPS_UNAVAILABLE'],
    ['dps-dropped', 'NETWORK_UNREACHABLE'],
    ['dps-answer-lost', 'NETWORK_UNREACHABLE'],
  ])('is tried again after %s', async (fault, code) => {
    const { id, onboarding } = newDevice()
    const issuer = dpsIssuer(options(onboarding))
    const request = await issueRequest({ commonName: id })
    cloud.faults.set(fault, { times: 1 })
    await expect(issuer.submit(request)).rejects.toEqual(withCode(code, { retryable: true }))
    await issued(() => issuer, request)
  })

  it('ends when it is given up', async () => {
    const { id, onboarding } = newDevice()
    cloud.faults.set('dps-latency', { ms: 60_000 })
    const stop = new AbortController()
    const connected = issueRequest({ commonName: id, signal: stop.signal }).then((request) =>
      dpsIssuer(options(onboarding)).submit(request),
    )
    stop.abort(new Error('enough'))
    await expect(connected).rejects.toThrow('enough')
  })

  it('leaves registrations of the same device, without a request, as they are', async () => {
    const { id, onboarding } = newDevice()
    const unused = credentialOf(id, await (await makeAuthority()).client(id))
    const registration = await dpsOverMqtt(options(onboarding)).register(unused, never)
    expect(registration).toMatchObject({ assignedHub: 'hub-a.azure-devices.net', deviceId: id })
    expect(registration).not.toHaveProperty('issuedChain')
  })

  describe('a symmetric key comes from', () => {
    const submit = async (onboarding: OnboardingCredential, id: DeviceId): Promise<IssueAnswer> =>
      dpsIssuer(options(onboarding)).submit(await issueRequest({ commonName: id }))

    it('a file, or an environment variable', async () => {
      const { id } = newDevice()
      const file = join(await temporaryFolder(), 'key')
      await writeFile(file, `${someKey}\n`)
      expect(await submit({ symmetricKey: { file } }, id)).toMatchObject({ kind: 'pending' })
      vi.stubEnv('TEST_ONBOARDING_KEY', someKey)
      onTestFinished(() => void vi.unstubAllEnvs())
      expect(await submit({ symmetricKey: { env: 'TEST_ONBOARDING_KEY' } }, id)).toMatchObject({
        kind: 'pending',
      })
    })

    it.each<[string, OnboardingCredential, RegExp]>([
      ['a file that is not there', { symmetricKey: { file: '/does/not/exist' } }, /\/does\/not\/exist/],
      ['a variable that is not set', { symmetricKey: { env: 'TEST_NO_KEY' } }, /TEST_NO_KEY/],
      ['a callback that has none', keyOf(''), /callback/],
      ['text that is no Base64', keyOf('sesame, open!'), /Base64/],
      ['a short key', keyOf('c2VzYW1l'), /16 bytes/],
    ])('%s: nowhere, and it is said without the key', async (_what, onboarding, why) => {
      const { id } = newDevice()
      const failed = submit(onboarding, id)
      await expect(failed).rejects.toEqual(
        withCode('DPS_KEY_MISSING', { retryable: false, message: expect.stringMatching(why) as string }),
      )
      await expect(failed).rejects.not.toThrow(/sesame|c2VzYW1l/)
    })
  })
})

describe('at a service with a script', () => {
  let authority: Authority

  beforeAll(async () => {
    authority = await makeAuthority()
  })

  const issuerAt = (port: number): Issuer =>
    dpsIssuer({
      provisioningHost: 'dps.example.net',
      idScope: '0ne00000A0A',
      trustedAuthorities: authority.certificate,
      connectTo: { '*.example.net': `127.0.0.1:${port}` },
      pollingIntervalMs: 1_234,
      onboarding: keyOf(someKey),
    })
  const gateway = { commonName: 'gateway-1' as DeviceId }
  const withChain = (issuedCertificateChain: unknown): object => ({
    ...assigned,
    registrationState: { ...assigned.registrationState, issuedCertificateChain },
  })

  it('says what the preview of the device API wants to hear', async () => {
    const script = ({ answer, kind }: Question): void =>
      kind === 'register' ? answer(202, assigning, 3) : answer(200, withChain(['AQID', 'BAUG']))
    await using dps = await scriptedDps(authority, script)
    const request = await issueRequest(gateway)
    const pending = await issuerAt(dps.port).submit(request)
    expect(pending).toEqual({ kind: 'pending', ticket: assigning.operationId, retryAfterMs: 3_000 })
    const { chain } = (await issuerAt(dps.port).resume(assigning.operationId, request)) as { chain: string }
    expect(chain).toMatch(/^-----BEGIN CERTIFICATE-----\nAQID\n-----END CERTIFICATE-----\n-----BEGIN/)
    for (const { packets } of dps.sessions) {
      expect(packets[0]).toMatchObject({
        cmd: 'connect',
        clientId: 'gateway-1',
        username: expect.stringMatching(
          /^0ne00000A0A\/registrations\/gateway-1\/api-version=2025-07-01-preview&ClientVersion=/,
        ) as string,
      })
    }
    const csr = request.csr.replace(/-----[A-Z ]+-----|\n/g, '')
    expect(dps.questions.map(({ kind }) => kind)).toEqual(['register', 'poll'])
    expect(JSON.parse(dps.questions[0]?.body ?? '')).toEqual({ registrationId: 'gateway-1', csr })
    expect(dps.questions[1]?.topic).toContain(`operationId=${assigning.operationId}`)
  })

  it('waits as configured where DPS names no time', async () => {
    await using dps = await scriptedDps(authority, ({ answer }) => answer(202, assigning))
    expect(await issuerAt(dps.port).submit(await issueRequest(gateway))).toMatchObject({
      retryAfterMs: 1_234,
    })
  })

  it.each<[what: string, answer: (question: Question) => void, code: string, retryable: boolean]>([
    ['an assignment without a chain', ({ answer }) => answer(200, assigned), 'ISSUER_REFUSED', false],
    ['an empty chain', ({ answer }) => answer(200, withChain([])), 'CERT_UNREADABLE', false],
    ['a chain that is text', ({ answer }) => answer(200, withChain('AQID')), 'CERT_UNREADABLE', false],
    ['a chain of numbers', ({ answer }) => answer(200, withChain([7])), 'CERT_UNREADABLE', false],
    ['no operation', ({ answer }) => answer(202, { status: 'registering' }), 'PROTOCOL_ERROR', true],
    ['no JSON', ({ answer }) => answer(200, '{'), 'PROTOCOL_ERROR', true],
    ['a closed connection', ({ session }) => void session.socket.destroy(), 'NETWORK_UNREACHABLE', true],
  ])('takes %s for what it is', async (_what, script, code, retryable) => {
    await using dps = await scriptedDps(authority, script)
    await expect(issuerAt(dps.port).submit(await issueRequest(gateway))).rejects.toEqual(
      withCode(code, { retryable }),
    )
  })

  it('refuses a host that is none', () => {
    expect(() => dpsIssuer({ provisioningHost: 'a b', idScope: 'x', onboarding: keyOf(someKey) })).toThrow(
      /host name/,
    )
  })
})
