import { once } from 'node:events'
import { X509Certificate } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { SimulatedCloud, TestAuthority, type FaultName, type IndividualEnrollment } from 'leafkeeper-sim'
import { derivedKey } from '../../sim/dps/derived-key.ts'
import { createSas } from '../../sim/http/sas.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { pemOf, requestFor, unprovenRequestFor } from './asking.ts'
import { bareClient, createDevice, type Device } from './devices.ts'
import { rawHttp, type RawAnswer } from './raw-http.ts'
import { provisioningService } from './service-clients.ts'
import { activate, storageKey } from './software-tpm.ts'

const preview = '2025-07-01-preview'
let cloud: SimulatedCloud
let root: TestAuthority
let devices = 0

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  cloud.credentialPolicies.put({ name: 'fortnight', validityDays: 14 })
  root = await TestAuthority.createRoot({ commonName: 'onboarding root' })
})
afterEach(() => cloud.faults.clear())
afterAll(() => cloud.close())

/** By what a device shows that it is one of its entry. */
interface Onboarding {
  readonly id: string
  readonly device?: Device
  readonly token?: string
  readonly tpm?: { readonly endorsementKey: string; readonly storageRootKey: string }
}

type Ask = (
  kind: 'register' | 'poll' | 'lookup',
  onboarding: Onboarding,
  content: { readonly csr?: unknown; readonly operationId?: string; readonly apiVersion?: string },
) => Promise<{ readonly status: number; readonly json: RawAnswer['json'] }>

const overHttps: Ask = async (
  kind,
  { id, device, token, tpm },
  { csr, operationId, apiVersion = preview },
) => {
  const rest = { register: '/register', poll: `/operations/${operationId ?? ''}`, lookup: '' }[kind]
  return rawHttp(cloud, {
    host: cloud.provisioningHost,
    method: { register: 'PUT', poll: 'GET', lookup: 'POST' }[kind],
    path: `/${cloud.idScope}/registrations/${id}${rest}?api-version=${apiVersion}`,
    ...(token === undefined ? {} : { headers: { authorization: token } }),
    ...(device === undefined ? {} : { device }),
    ...(kind === 'poll' ? {} : { body: { registrationId: id, csr, tpm } }),
  })
}

const overMqtt: Ask = async (kind, { id, device, token }, { csr, operationId, apiVersion = preview }) => {
  const client = bareClient(cloud, device, {
    clientId: id,
    username: `${cloud.idScope}/registrations/${id}/api-version=${apiVersion}&ClientVersion=test`,
    ...(token === undefined ? {} : { password: token }),
  })
  try {
    await once(client, 'connect')
    await new Promise((done) => client.subscribe('$dps/registrations/res/#', { qos: 1 }, done))
    const answered = once(client, 'message') as Promise<[string, Buffer]>
    if (kind === 'register') {
      const body = JSON.stringify({ registrationId: id, csr })
      client.publish('$dps/registrations/PUT/iotdps-register/?$rid=1', body, { qos: 1 })
    } else {
      const topic = `$dps/registrations/GET/iotdps-get-operationstatus/?$rid=1&operationId=${operationId ?? ''}`
      client.publish(topic, ' ', { qos: 1 })
    }
    const [topic, payload] = await answered
    return { status: Number(topic.split('/')[3]), json: JSON.parse(payload.toString()) as RawAnswer['json'] }
  } finally {
    client.end(true)
  }
}

const transports: readonly (readonly [string, Ask])[] = [
  ['MQTT', overMqtt],
  ['HTTPS', overHttps],
]

interface Assigned {
  readonly assignedHub: string
  readonly issuedCertificateChain?: readonly string[]
  readonly status: string
  readonly errorCode?: number
}

/** Registers and asks until something is decided. */
async function registered(ask: Ask, onboarding: Onboarding, content: Parameters<Ask>[2]): Promise<Assigned> {
  const begun = await ask('register', onboarding, content)
  expect(begun).toMatchObject({ status: 202, json: { status: 'assigning' } })
  for (;;) {
    const operationId = String(begun.json['operationId'])
    const { json } = await ask('poll', onboarding, { ...content, operationId })
    if (json['status'] !== 'assigning') return json['registrationState'] as Assigned
  }
}

function newId(): string {
  devices += 1
  return `onboarded-${devices}`
}

function tokenFor(id: string, key: string): string {
  return createSas(
    `${cloud.idScope}/registrations/${id}`,
    key,
    Math.floor(Date.now() / 1000) + 60,
    'registration',
  )
}

/** A device with a symmetric key, whose entry names a policy unless it is told otherwise. */
function withKey(entry: Partial<IndividualEnrollment> = { credentialPolicyName: 'fortnight' }): Onboarding {
  const id = newId()
  const stored = cloud.dps.enrollments.put({
    registrationId: id,
    attestation: { type: 'symmetricKey' },
    ...entry,
  })
  const { attestation } = stored
  if (!('type' in attestation) || attestation.type !== 'symmetricKey') throw new Error('no key')
  return { id, token: tokenFor(id, attestation.primaryKey ?? '') }
}

async function withCertificate(): Promise<Onboarding> {
  const id = newId()
  const device = await createDevice(root, id)
  cloud.dps.enrollments.put({
    registrationId: id,
    attestation: { primary: device.certificate },
    credentialPolicyName: 'fortnight',
  })
  return { id, device }
}

/** The hub lets the device in with what it was issued. */
async function connects(id: string, chain: string, key: string): Promise<void> {
  const connected = cloud.waitFor('deviceConnected', ({ deviceId }) => deviceId === id)
  const client = bareClient(
    cloud,
    { id, chain, key, certificate: '', thumbprint: '' },
    { clientId: id, username: `hub-a.azure-devices.net/${id}/?api-version=2021-04-12` },
  )
  onTestFinished(() => void client.end(true))
  await connected
}

describe.each(transports)('a registration with a request, over %s', (_name, ask) => {
  it.each<[string, () => Promise<Onboarding>]>([
    ['a certificate', withCertificate],
    ['a symmetric key', async () => Promise.resolve(withKey())],
    [
      "a group's symmetric key",
      async () => {
        const key = Buffer.alloc(64, 7).toString('base64')
        cloud.dps.groups.put({
          enrollmentGroupId: 'keys',
          attestation: { type: 'symmetricKey', primaryKey: key },
          credentialPolicyName: 'Fortnight',
        })
        const id = newId()
        return Promise.resolve({ id, token: tokenFor(id, derivedKey(key, id)) })
      },
    ],
    [
      "a certificate below a group's authority",
      async () => {
        cloud.dps.groups.put({
          enrollmentGroupId: 'leaves',
          attestation: { primary: root.certificate },
          credentialPolicyName: 'fortnight',
        })
        const id = newId()
        return { id, device: await createDevice(root, id) }
      },
    ],
  ])('issues a chain to a device that is onboarded by %s', async (_what, onboard) => {
    const onboarding = await onboard()
    const { id } = onboarding
    const { csr, key } = await requestFor(id)
    const { assignedHub, issuedCertificateChain = [] } = await registered(ask, onboarding, { csr })
    expect(issuedCertificateChain).toHaveLength(3)
    const [leaf, issuer, top] = issuedCertificateChain.map(
      (der) => new X509Certificate(Buffer.from(der, 'base64')),
    )
    expect(leaf?.subject).toBe(`CN=${id}`)
    expect(issuer !== undefined && leaf?.checkIssued(issuer)).toBe(true)
    expect(top !== undefined && issuer?.checkIssued(top)).toBe(true)
    expect((Date.parse(leaf?.validTo ?? '') - Date.now()) / 86_400_000).toBeCloseTo(14, 2)
    expect(cloud.hub(assignedHub).registry.get(id)?.authentication).toMatchObject({
      type: 'certificateAuthority',
    })
    await connects(id, pemOf(issuedCertificateChain.slice(0, 2)), key)
  })

  it.each<[string, (id: string) => unknown]>([
    ['no text', () => 7],
    ['empty', () => ''],
    ['armoured', () => '-----BEGIN CERTIFICATE REQUEST-----'],
    ['no PKCS#10', () => 'TU9DSyBDU1I='],
    ['for another device', async () => (await requestFor('somebody')).csr],
  ])('is refused with 400 when the request is %s', async (_what, makeCsr) => {
    const onboarding = withKey()
    const answer = await ask('register', onboarding, { csr: await makeCsr(onboarding.id) })
    expect(answer).toMatchObject({ status: 400, json: { errorCode: 400000 } })
    expect(cloud.dps.registrations.get(onboarding.id)).toBeUndefined()
  })

  it('is refused with 400 when the entry has no policy', async () => {
    const onboarding = withKey({})
    const { csr } = await requestFor(onboarding.id)
    expect(await ask('register', onboarding, { csr })).toMatchObject({
      status: 400,
      json: { message: expect.stringContaining('credentialPolicyName') as string },
    })
    expect(cloud.dps.registrations.get(onboarding.id)).toBeUndefined()
  })

  it('fails, and assigns nothing, when the device does not prove that it has the key', async () => {
    const onboarding = withKey()
    const csr = await unprovenRequestFor(onboarding.id)
    expect(await registered(ask, onboarding, { csr })).toMatchObject({ status: 'failed', errorCode: 400213 })
    expect(cloud.hub('hub-a').registry.get(onboarding.id)).toBeUndefined()
  })

  it('fails when the policy is gone', async () => {
    cloud.credentialPolicies.put({ name: 'gone', validityDays: 7 })
    const onboarding = withKey({ credentialPolicyName: 'gone' })
    cloud.credentialPolicies.delete('gone')
    const { csr } = await requestFor(onboarding.id)
    expect(await registered(ask, onboarding, { csr })).toMatchObject({ status: 'failed', errorCode: 400213 })
  })

  it('is one without a request to earlier versions of the API', async () => {
    const onboarding = withKey()
    const assigned = await registered(ask, onboarding, { csr: 7, apiVersion: '2021-06-01' })
    expect(assigned).toMatchObject({ status: 'assigned' })
    expect(assigned.issuedCertificateChain).toBeUndefined()
  })

  it.each<[FaultName, object]>([
    ['issuance-stuck', {}],
    ['issuance-slow', { ms: 60_000 }],
  ])('is assigning as long as %s', async (fault, settings) => {
    const onboarding = withKey()
    const { csr } = await requestFor(onboarding.id)
    cloud.faults.set(fault, settings)
    const { json } = await ask('register', onboarding, { csr })
    const operationId = String(json['operationId'])
    const status = async (): Promise<unknown> =>
      (await ask('poll', onboarding, { operationId })).json['status']
    expect(await status()).toBe('assigning')
    expect(await status()).toBe('assigning')
    expect(cloud.hub('hub-a').registry.get(onboarding.id)).toBeUndefined()
    if (fault === 'issuance-slow') return
    const decided = cloud.waitFor('registration', ({ registrationId }) => registrationId === onboarding.id)
    cloud.faults.clear(fault)
    expect(await decided).toMatchObject({ outcome: 'assigned' })
    expect(await status()).toBe('assigned')
  })
})

it('is onboarded by a TPM, which needs no key of the hub then', async () => {
  const [endorsement, storageRoot] = [storageKey(), storageKey()]
  const id = newId()
  cloud.dps.enrollments.put({
    registrationId: id,
    attestation: { type: 'tpm', endorsementKey: endorsement.base64 },
    credentialPolicyName: 'fortnight',
  })
  const tpm = { endorsementKey: endorsement.base64, storageRootKey: storageRoot.base64 }
  const { csr, key } = await requestFor(id)
  const challenge = await overHttps('register', { id, tpm }, { csr })
  expect(challenge.status).toBe(401)
  const blob = Buffer.from(String(challenge.json['authenticationKey']), 'base64')
  const token = tokenFor(id, activate(blob, endorsement, storageRoot).toString('base64'))
  const assigned = await registered(overHttps, { id, tpm, token }, { csr })
  expect(assigned).not.toHaveProperty('tpm')
  await connects(id, pemOf(assigned.issuedCertificateChain?.slice(0, 1) ?? []), key)
})

it('shows the chain to nobody but whoever asks about the operation', async () => {
  const onboarding = withKey()
  const { csr } = await requestFor(onboarding.id)
  await registered(overHttps, onboarding, { csr })
  const { json } = await overHttps('lookup', onboarding, {})
  expect(json).toMatchObject({ status: 'assigned' })
  expect(json).not.toHaveProperty('issuedCertificateChain')
  expect(JSON.stringify(cloud.dps.snapshot())).not.toContain('issuedCertificateChain')
  expect(await overHttps('lookup', onboarding, { csr })).toMatchObject({
    status: 400,
    json: { errorCode: 400000 },
  })
})

it('leaves what it issued before in force, until the device is revoked', async () => {
  const onboarding = withKey()
  const { id } = onboarding
  const issued: { readonly chain: string; readonly key: string }[] = []
  for (let count = 0; count < 2; count += 1) {
    const { csr, key } = await requestFor(id)
    const { issuedCertificateChain = [] } = await registered(overHttps, onboarding, { csr })
    issued.push({ chain: pemOf(issuedCertificateChain.slice(0, 2)), key })
  }
  for (const { chain, key } of issued) await connects(id, chain, key)
  expect(cloud.hub('hub-a').revokeIssued(id)).toBe(2)
  cloud.hub('hub-a').disconnect(id)
  const refused = cloud.waitFor('connectRefused', ({ deviceId }) => deviceId === id)
  void connects(id, issued[1]?.chain ?? '', issued[1]?.key ?? '')
  expect(await refused).toMatchObject({ errorCode: 401003 })
})

describe('credentialPolicyName', () => {
  const policyOf = async (registrationId: string, apiVersion = preview): Promise<unknown> => {
    const service = provisioningService(cloud)
    Object.assign(service, { _versionQueryString: () => `?api-version=${apiVersion}` })
    const { responseBody } = await service.getIndividualEnrollment(registrationId)
    return (responseBody as { readonly credentialPolicyName?: unknown }).credentialPolicyName
  }
  const put = async (entry: object, apiVersion = preview): Promise<void> => {
    const service = provisioningService(cloud)
    Object.assign(service, { _versionQueryString: () => `?api-version=${apiVersion}` })
    await service.createOrUpdateIndividualEnrollment(entry as never)
  }
  const entryOf = (registrationId: string, credentialPolicyName?: string): object => ({
    registrationId,
    attestation: { type: 'symmetricKey', symmetricKey: {} },
    ...(credentialPolicyName === undefined ? {} : { credentialPolicyName }),
  })

  it('is read and written by the version of the service API that has it, and kept by earlier ones', async () => {
    const id = newId()
    await put(entryOf(id, 'fortnight'))
    expect(await policyOf(id)).toBe('fortnight')
    expect(await policyOf(id, '2021-10-01')).toBeUndefined()
    const { etag } = cloud.dps.enrollments.get(id) ?? { etag: '' }
    await put({ ...entryOf(id, 'default'), etag }, '2021-10-01')
    expect(await policyOf(id)).toBe('fortnight')
    await put({ ...entryOf(id), etag: cloud.dps.enrollments.get(id)?.etag })
    expect(await policyOf(id)).toBeUndefined()
  })

  it('must be that of a policy, in groups too', async () => {
    await expect(put(entryOf(newId(), 'nobodys'))).rejects.toThrow()
    const attestation = { type: 'symmetricKey' } as const
    expect(() =>
      cloud.dps.groups.put({ enrollmentGroupId: 'g', attestation, credentialPolicyName: 'nobodys' }),
    ).toThrow(/no credential policy/)
  })
})

it('signs with the same authority after a restart, and hubs accept what was issued before it', async () => {
  const data = await temporaryFolder()
  const deviceId = 'kept-1'
  const before = await SimulatedCloud.start({ data, hubs: ['hub-a'] })
  before.credentialPolicies.put({ name: 'kept', validityDays: 9 })
  before.hub('hub-a').registry.create({ deviceId, authentication: { type: 'certificateAuthority' } })
  const { csr, key } = await requestFor(deviceId)
  const issued = await before.credentialPolicies.issue('kept', csr, deviceId, Date.now())
  before.hub('hub-a').trustIssued(deviceId, issued)
  await before.close()
  const after = await SimulatedCloud.start({ data })
  onTestFinished(() => after.close())
  expect(after.credentialPolicies.list()).toEqual([
    { name: 'default', validityDays: 30, isSynced: true },
    { name: 'kept', validityDays: 9, isSynced: true },
  ])
  const again = await after.hub('hub-a').issueCertificate(deviceId, csr)
  expect(again).toMatchObject({ policyName: 'kept', authorities: issued.authorities })
  const connected = after.waitFor('deviceConnected')
  const client = bareClient(
    after,
    { id: deviceId, chain: issued.leaf, key, certificate: '', thumbprint: '' },
    { clientId: deviceId, username: `hub-a.azure-devices.net/${deviceId}/?api-version=2021-04-12` },
  )
  onTestFinished(() => void client.end(true))
  expect(await connected).toMatchObject({ deviceId })
})
