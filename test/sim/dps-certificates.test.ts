import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createDevice, register } from './devices.ts'
import { dpsCertificates, provisioningService } from './service-clients.ts'

let cloud: SimulatedCloud

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
})
afterAll(() => cloud.close())

function propertiesOf(json: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  return json['properties'] as Readonly<Record<string, unknown>>
}

describe('proof of possession', () => {
  it('lets an authority attest once its key has signed the code, and until it is deleted', async () => {
    const root = await TestAuthority.createRoot({ commonName: 'possessed root' })
    const certificate = Buffer.from(root.certificate).toString('base64')
    const added = await dpsCertificates(cloud, {
      method: 'PUT',
      path: '/root-1',
      body: { properties: { certificate } },
    })
    expect(added.status).toBe(201)
    expect(propertiesOf(added.json)).toMatchObject({ isVerified: false })

    const client = provisioningService(cloud)
    const group = {
      enrollmentGroupId: 'by-reference',
      attestation: { type: 'x509', x509: { caReferences: { primary: 'root-1' } } },
    }
    await expect(client.createOrUpdateEnrollmentGroup(group as never)).rejects.toMatchObject({
      name: 'ArgumentError',
    })

    const asked = await dpsCertificates(cloud, {
      method: 'POST',
      path: '/root-1/generateVerificationCode',
      ifMatch: added.json['etag'] as string,
    })
    const commonName = propertiesOf(asked.json)['verificationCode'] as string
    const proof = await createDevice(root, commonName)
    const stale = await dpsCertificates(cloud, {
      method: 'POST',
      path: '/root-1/verify',
      ifMatch: added.json['etag'] as string,
      body: { certificate: proof.certificate },
    })
    expect(stale.status).toBe(412)
    const forger = await TestAuthority.createRoot({ commonName: 'possessed root' })
    for (const wrong of [await createDevice(forger, commonName), await createDevice(root, 'another-code')]) {
      const refused = await dpsCertificates(cloud, {
        method: 'POST',
        path: '/root-1/verify',
        ifMatch: asked.json['etag'] as string,
        body: { certificate: wrong.certificate },
      })
      expect(refused.status).toBe(400)
    }
    const verified = await dpsCertificates(cloud, {
      method: 'POST',
      path: '/root-1/verify',
      ifMatch: asked.json['etag'] as string,
      body: { certificate: proof.certificate },
    })
    expect(propertiesOf(verified.json)).toMatchObject({ isVerified: true })

    await client.createOrUpdateEnrollmentGroup(group as never)
    const device = await createDevice(root, 'referenced-1')
    expect(await register(cloud, device)).toMatchObject({ status: 'assigned' })

    const deleted = await dpsCertificates(cloud, {
      method: 'DELETE',
      path: '/root-1',
      ifMatch: verified.json['etag'] as string,
    })
    expect(deleted.status).toBe(200)
    await expect(register(cloud, device)).rejects.toMatchObject({
      result: { errorCode: 401002, message: 'CA certificate not found.' },
    })
  })

  it('is asked for again after a certificate was replaced', async () => {
    const [first, second] = await Promise.all([
      TestAuthority.createRoot({ commonName: 'replaced 1' }),
      TestAuthority.createRoot({ commonName: 'replaced 2' }),
    ])
    cloud.dps.certificates.put('replaced', first.certificate, true)
    await dpsCertificates(cloud, {
      method: 'PUT',
      path: '/replaced',
      body: { properties: { certificate: second.certificate } },
    })
    expect(cloud.dps.certificates.get('replaced')).toMatchObject({ isVerified: false })
    const listed = await dpsCertificates(cloud)
    expect((listed.json['value'] as { name: string }[]).map(({ name }) => name)).toContain('replaced')
  })

  it('refuses leaves, strangers, and changes without an If-Match', async () => {
    const root = await TestAuthority.createRoot({ commonName: 'refusing root' })
    const leaf = await createDevice(root, 'leaf-1')
    const body = { properties: { certificate: leaf.certificate } }
    expect((await dpsCertificates(cloud, { method: 'PUT', path: '/leaf', body })).status).toBe(400)
    expect((await dpsCertificates(cloud, { token: 'stranger' })).status).toBe(401)
    expect((await dpsCertificates(cloud, { method: 'DELETE', path: '/replaced' })).status).toBe(400)
    expect((await dpsCertificates(cloud, { path: '/nothing' })).status).toBe(404)
  })
})
