import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ProvisioningServiceClient } from 'azure-iot-provisioning-service'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createSas } from '../../sim/http/sas.ts'
import { createDevice, register, type Device } from './devices.ts'
import { rawHttp, type RawAnswer, type RawRequest } from './raw-http.ts'
import { provisioningService } from './service-clients.ts'

let cloud: SimulatedCloud
let root: TestAuthority
let client: ProvisioningServiceClient

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'service root' })
  cloud.dps.certificates.put('service-root', root.certificate, true)
  client = provisioningService(cloud)
})
afterAll(() => cloud.close())

function x509(primary?: Device, secondary?: Device): object {
  const slot = (device?: Device): object | undefined =>
    device === undefined ? undefined : { certificate: device.certificate }
  return {
    type: 'x509',
    x509: { clientCertificates: { primary: slot(primary), secondary: slot(secondary) } },
  }
}

async function put(enrollment: object): Promise<Record<string, unknown>> {
  const { responseBody } = await client.createOrUpdateIndividualEnrollment(enrollment as never)
  return responseBody as unknown as Record<string, unknown>
}

describe('individual enrollments', () => {
  it('are created, shown without their certificates, and deleted', async () => {
    const device = await createDevice(root, 'crud-1')
    const made = await put({ registrationId: device.id, attestation: x509(device) })
    expect(made).toMatchObject({
      registrationId: device.id,
      provisioningStatus: 'enabled',
      allocationPolicy: 'hashed',
      reprovisionPolicy: { updateHubAssignment: true, migrateDeviceData: true },
      attestation: {
        type: 'x509',
        x509: { clientCertificates: { primary: { info: { sha256Thumbprint: device.thumbprint } } } },
      },
    })
    expect(JSON.stringify(made)).not.toContain('BEGIN CERTIFICATE')
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })
    const { responseBody } = await client.getIndividualEnrollment(device.id)
    expect(responseBody).toMatchObject({ etag: made['etag'], registrationState: { status: 'assigned' } })
    await client.deleteIndividualEnrollment(device.id)
    await expect(client.getIndividualEnrollment(device.id)).rejects.toThrow('Not found')
    await expect(client.deleteIndividualEnrollment(device.id)).rejects.toThrow('Not found')
  })

  it('keep the certificates that are written back by their description, in either slot', async () => {
    const [first, second] = await Promise.all([createDevice(root, 'keep-1'), createDevice(root, 'keep-1')])
    const made = await put({ registrationId: 'keep-1', attestation: x509(first) })
    const attestation = made['attestation'] as { x509: { clientCertificates: { primary: object } } }
    const { primary } = attestation.x509.clientCertificates
    await put({
      ...made,
      attestation: {
        type: 'x509',
        x509: { clientCertificates: { primary: { certificate: second.certificate }, secondary: primary } },
      },
    })
    expect(await register(cloud, first)).toMatchObject({ status: 'assigned' })
    expect(await register(cloud, second)).toMatchObject({ status: 'assigned' })
  })

  it('are only changed by whoever has seen the last version', async () => {
    const device = await createDevice(root, 'etag-1')
    const first = await put({ registrationId: device.id, attestation: x509(device) })
    const second = await put({ ...first, provisioningStatus: 'disabled' })
    expect(second['etag']).not.toBe(first['etag'])
    await expect(put({ ...first, provisioningStatus: 'enabled' })).rejects.toMatchObject({
      name: 'InvalidEtagError',
    })
    await expect(client.deleteIndividualEnrollment(device.id, first['etag'] as string)).rejects.toThrow()
    expect(cloud.dps.enrollments.get(device.id)?.provisioningStatus).toBe('disabled')
  })

  it('are listed in pages', async () => {
    const ids = ['page-1', 'page-2', 'page-3', 'page-4', 'page-5']
    for (const id of ids) await put({ registrationId: id, attestation: x509(await createDevice(root, id)) })
    const query = client.createIndividualEnrollmentQuery({ query: 'SELECT * FROM enrollments' }, 2)
    const seen: string[] = []
    let pages = 0
    do {
      const { responseBody: result } = (await query.next(query.continuationToken)) as unknown as {
        responseBody: { registrationId: string }[]
      }
      expect(result.length).toBeLessThanOrEqual(2)
      seen.push(...result.map(({ registrationId }) => registrationId))
      pages += 1
    } while (query.hasMoreResults)
    expect(pages).toBeGreaterThan(2)
    expect(seen).toEqual(expect.arrayContaining(ids))
    expect(new Set(seen).size).toBe(seen.length)
  })

  it('are written in bulk, each by itself', async () => {
    const [one, other] = await Promise.all([createDevice(root, 'bulk-1'), createDevice(root, 'bulk-2')])
    const run = async (mode: string, enrollments: object[]): Promise<unknown> =>
      new Promise((resolve, reject) => {
        client.runBulkEnrollmentOperation({ mode, enrollments } as never, (error, result) => {
          if (error) reject(error)
          else resolve(result)
        })
      })
    await put({ registrationId: 'bulk-1', attestation: x509(one) })
    const both = [
      { registrationId: 'bulk-1', attestation: x509(one) },
      { registrationId: 'bulk-2', attestation: x509(other) },
    ]
    expect(await run('create', both)).toMatchObject({
      isSuccessful: false,
      errors: [{ registrationId: 'bulk-1', errorCode: 409201 }],
    })
    expect(cloud.dps.enrollments.get('bulk-2')).toBeDefined()
    expect(await run('delete', both)).toEqual({ isSuccessful: true, errors: [] })
    expect(cloud.dps.enrollments.get('bulk-1')).toBeUndefined()
  })

  it('show keys only where they are asked for', async () => {
    const made = await put({
      registrationId: 'keys-1',
      attestation: { type: 'symmetricKey', symmetricKey: {} },
    })
    expect(made['attestation']).toEqual({ type: 'symmetricKey' })
    const ask = async (): Promise<unknown> =>
      (await client.getIndividualEnrollmentAttestationMechanism('keys-1')).responseBody
    const keys = await ask()
    expect(keys).toMatchObject({
      type: 'symmetricKey',
      symmetricKey: { primaryKey: expect.stringMatching(/=$/) as string },
    })
    await put({ ...made, provisioningStatus: 'disabled' })
    expect(await ask()).toEqual(keys)
  })
})

describe('enrollment groups', () => {
  it('take an intermediate that a verified authority has signed, and no other', async () => {
    const stranger = await TestAuthority.createRoot({ commonName: 'stranger' })
    const [good, bad] = await Promise.all([
      root.createIntermediate({ commonName: 'good intermediate' }),
      stranger.createIntermediate({ commonName: 'bad intermediate' }),
    ])
    const group = (authority: TestAuthority): object => ({
      enrollmentGroupId: 'intermediates',
      attestation: {
        type: 'x509',
        x509: { signingCertificates: { primary: { certificate: authority.certificate } } },
      },
    })
    await expect(client.createOrUpdateEnrollmentGroup(group(bad) as never)).rejects.toMatchObject({
      name: 'ArgumentError',
    })
    await client.createOrUpdateEnrollmentGroup(group(good) as never)
    const device = await createDevice(good, 'below-good')
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })

    const query = client.createEnrollmentGroupDeviceRegistrationStateQuery({ query: '*' }, 'intermediates')
    const { responseBody: result } = (await query.next()) as unknown as { responseBody: object[] }
    expect(result).toMatchObject([
      { registrationId: device.id, x509: { enrollmentGroupId: 'intermediates' } },
    ])
    const state = await client.getDeviceRegistrationState(device.id)
    expect(state.responseBody).toMatchObject({ assignedHub: expect.stringContaining('hub-') as string })
    await client.deleteDeviceRegistrationState(device.id)
    await expect(client.getDeviceRegistrationState(device.id)).rejects.toThrow('Not found')

    cloud.dps.certificates.delete('service-root', '*')
    await expect(register(cloud, device)).rejects.toMatchObject({
      result: { errorCode: 401002, message: 'CA certificate not found.' },
    })
    cloud.dps.certificates.put('service-root', root.certificate, true)
    await client.deleteEnrollmentGroup('intermediates')
    await expect(client.getEnrollmentGroup('intermediates')).rejects.toThrow('Not found')
  })
})

describe('bad input', () => {
  const call = async (request: Partial<RawRequest> = {}): Promise<RawAnswer> =>
    rawHttp(cloud, {
      host: cloud.dps.hostName,
      path: '/enrollments/bad-1?api-version=2021-10-01',
      ...request,
      headers: { authorization: token(), ...request.headers },
    })
  const token = (
    key?: string,
    expiry = Math.floor(Date.now() / 1000) + 60,
    host = cloud.dps.hostName,
  ): string => {
    const [, own = ''] = /SharedAccessKey=(.*)$/.exec(cloud.dps.connectionString) ?? []
    return createSas(host, key ?? own, expiry, 'provisioningserviceowner')
  }

  it.each([
    ['no token', () => '', 401],
    ['a token that is none', () => 'SharedAccessSignature sr=x', 401],
    ['an expired token', () => token(undefined, 1), 401],
    ['a token by another key', () => token('AAAA'), 401],
    ['a token for another host', () => token(undefined, undefined, 'hub-a.azure-devices.net'), 401],
    ['a good token', () => token(), 404],
  ])('answers %s', async (_what, make, status) => {
    const answer = await call({ headers: { authorization: make() } })
    expect(answer.status).toBe(status)
    expect(answer.json).toMatchObject({
      errorCode: expect.any(Number) as number,
      trackingId: expect.any(String) as string,
    })
    expect(answer.headers['x-ms-request-id']).toBeDefined()
  })

  it.each<[string, Partial<RawRequest>, number]>([
    ['malformed JSON', { method: 'PUT', body: '{' }, 400],
    ['JSON that is no object', { method: 'PUT', body: '[]' }, 400],
    ['another id than in the path', { method: 'PUT', body: { registrationId: 'other' } }, 400],
    ['no attestation', { method: 'PUT', body: { registrationId: 'bad-1' } }, 400],
    ['an api-version there never was', { path: '/enrollments/bad-1?api-version=1999-01-01' }, 400],
    ['no api-version', { path: '/enrollments/bad-1' }, 400],
    ['a body that is too large', { method: 'PUT', body: 'x'.repeat(3_000_000) }, 413],
    ['a path with dots', { path: '/enrollments/../../etc/passwd?api-version=2021-10-01' }, 404],
    ['a path with encoded dots', { path: '/enrollments/..%2f..%2fetc?api-version=2021-10-01' }, 404],
    [
      'a query that is none',
      { method: 'POST', path: '/enrollments/query?api-version=2021-10-01', body: { query: 'DROP' } },
      400,
    ],
    [
      'a continuation that is none',
      {
        method: 'POST',
        path: '/enrollments/query?api-version=2021-10-01',
        body: { query: '*' },
        headers: { 'x-ms-continuation': 'nonsense' },
      },
      400,
    ],
  ])('refuses %s and changes nothing', async (_what, request, status) => {
    const before = JSON.stringify(cloud.dps.snapshot())
    expect((await call(request)).status).toBe(status)
    expect(JSON.stringify(cloud.dps.snapshot())).toBe(before)
  })
})

describe('limits', () => {
  it('are answered with 429 and the time to come back, and with 403 when full', async () => {
    cloud.dps.limits = { serviceRequestsPerMinute: 0, enrollments: 0 }
    await expect(client.getIndividualEnrollment('any')).rejects.toMatchObject({ name: 'ThrottlingError' })
    cloud.dps.limits = { enrollments: 0 }
    const device = await createDevice(root, 'full-1')
    await expect(put({ registrationId: device.id, attestation: x509(device) })).rejects.toThrow()
    cloud.dps.limits = {}
    await put({ registrationId: device.id, attestation: x509(device) })
  })
})

it('outlives a restart as JSON', async () => {
  const other = await SimulatedCloud.start()
  const text = JSON.stringify(cloud.dps.snapshot())
  other.dps.restore(JSON.parse(text) as ReturnType<typeof cloud.dps.snapshot>)
  expect(JSON.stringify(other.dps.snapshot())).toBe(text)
  expect(other.dps.connectionString).toBe(cloud.dps.connectionString)
  await other.close()
})
