import iothub from 'azure-iothub'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { AuthorityCertificates } from '../support/azure-certificates.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createDevice, deviceClient, type Device } from './devices.ts'
import { hubCertificates, pointedAt } from './service-clients.ts'

const [hubA, hubB] = ['hub-a.azure-devices.net', 'hub-b.azure-devices.net']
let cloud: SimulatedCloud
let root: TestAuthority
let other: TestAuthority

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'factory root' })
  other = await TestAuthority.createRoot({ commonName: 'factory root' })
})
afterAll(() => cloud.close())

function certificatesOf(target: SimulatedCloud, hub: string): AuthorityCertificates {
  return new AuthorityCertificates({
    resource: `/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/${hub}`,
    token: target.managementToken,
    agent: target.clientOptions().agent,
  })
}

/** Makes the record of a device that authenticates by authority, through the service SDK. */
async function create(target: SimulatedCloud, hub: string, deviceId: string): Promise<void> {
  const registry = pointedAt(target, iothub.Registry.fromConnectionString(target.hub(hub).connectionString))
  await registry.create({ deviceId, authentication: { type: 'certificateAuthority' } })
}

/** Connects and leaves again. @throws what the device SDK says */
async function visit(target: SimulatedCloud, hub: string, device: Device): Promise<void> {
  const client = await deviceClient(target, hub, device)
  await client.open()
  await client.close()
}

const refused = { name: 'UnauthorizedError' }

describe('a device that authenticates by authority', () => {
  it('is let in once its authority is verified at that very hub, and until it is deleted there', async () => {
    const certificates = certificatesOf(cloud, 'hub-a')
    const intermediate = await root.createIntermediate({ commonName: 'line 3' })
    const device = await createDevice(intermediate, 'device-1')
    for (const hub of [hubA, hubB]) await create(cloud, hub, device.id)

    await expect(visit(cloud, hubA, device)).rejects.toMatchObject(refused)
    await certificates.add('factory', root)
    expect(await certificates.isVerified('factory')).toBe(false)
    await expect(visit(cloud, hubA, device)).rejects.toMatchObject(refused)

    await certificates.verify('factory', root)
    expect(await certificates.isVerified('factory')).toBe(true)
    await visit(cloud, hubA, device)
    await expect(visit(cloud, hubB, device)).rejects.toMatchObject(refused)
    expect(cloud.dps.certificates.list()).toEqual([])

    await certificates.delete('factory')
    await expect(visit(cloud, hubA, device)).rejects.toMatchObject(refused)
  })

  it('has to show every certificate up to the verified one', async () => {
    const certificates = certificatesOf(cloud, 'hub-a')
    await certificates.add('whole-chain', root)
    await certificates.verify('whole-chain', root)
    const intermediate = await root.createIntermediate({ commonName: 'line 4' })
    const device = await createDevice(intermediate, 'device-2')
    await create(cloud, hubA, device.id)
    await visit(cloud, hubA, device)
    await expect(visit(cloud, hubA, { ...device, chain: device.certificate })).rejects.toMatchObject(refused)
    await certificates.delete('whole-chain')
  })

  it('is still known after a restart, as is an authority that waits for its proof', async () => {
    const data = await temporaryFolder()
    const before = await SimulatedCloud.start({ data })
    const certificates = certificatesOf(before, 'hub-a')
    await certificates.add('factory', root)
    await certificates.verify('factory', root)
    await certificates.add('waiting', other)
    const device = await createDevice(root, 'device-3')
    await create(before, hubA, device.id)
    await before.close()

    const after = await SimulatedCloud.start({ data })
    onTestFinished(() => after.close())
    await visit(after, hubA, device)
    expect(await certificatesOf(after, 'hub-a').isVerified('waiting')).toBe(false)
  })
})

describe('proof of possession at a hub', () => {
  it('takes only what the key of that authority has signed for the code that was made last', async () => {
    const call = async (
      path: string,
      etag: string,
      certificate?: string,
    ): ReturnType<typeof hubCertificates> =>
      hubCertificates(cloud, 'hub-b', {
        method: 'POST',
        path,
        ifMatch: etag,
        ...(certificate === undefined ? {} : { body: { certificate } }),
      })
    const added = await hubCertificates(cloud, 'hub-b', {
      method: 'PUT',
      path: '/proven',
      body: { properties: { certificate: Buffer.from(root.certificate).toString('base64') } },
    })
    expect(added.status).toBe(201)
    const first = await call('/proven/generateVerificationCode', String(added.json['etag']))
    const second = await call('/proven/generateVerificationCode', String(first.json['etag']))
    const codeIn = ({ json }: typeof first): string =>
      (json['properties'] as { readonly verificationCode: string }).verificationCode
    const etag = String(second.json['etag'])
    const proof = await createDevice(root, codeIn(second))
    for (const wrong of [
      await createDevice(root, codeIn(first)),
      await createDevice(other, codeIn(second)),
      await createDevice(root, 'no-code'),
    ]) {
      expect((await call('/proven/verify', etag, wrong.certificate)).status).toBe(400)
    }
    expect((await call('/proven/verify', String(first.json['etag']), proof.certificate)).status).toBe(412)
    const verified = await call('/proven/verify', etag, proof.certificate)
    expect(verified.json).toMatchObject({
      id: '/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/IotHubs/hub-b/certificates/proven',
      name: 'proven',
      type: 'Microsoft.Devices/IotHubs/Certificates',
      properties: { isVerified: true, subject: expect.stringContaining('factory root') as string },
    })

    // Whoever replaces the certificate has to prove possession anew.
    await certificatesOf(cloud, 'hub-b').add('proven', other)
    expect(await certificatesOf(cloud, 'hub-b').isVerified('proven')).toBe(false)
    await certificatesOf(cloud, 'hub-b').delete('proven')
  })

  it('is not asked for by the typed API, whose authorities stand among the others', async () => {
    const hub = cloud.hub('hub-b')
    hub.trustedAuthorities.add(root.certificate)
    const listed = await hubCertificates(cloud, 'hub-b')
    expect(listed.json['value']).toEqual([
      expect.objectContaining({ name: expect.stringMatching(/^authority-[0-9a-f]{40}$/) as string }),
    ])
    expect(listed.text).not.toContain('verificationCode')
    expect(hub.trustedAuthorities.list()).toEqual([root.certificate])
    hub.trustedAuthorities.delete(root.certificate)
    expect((await hubCertificates(cloud, 'hub-b')).json['value']).toEqual([])
  })

  it.each<[what: string, hub: string, request: Parameters<typeof hubCertificates>[2], status: number]>([
    ['of a hub that is not here', 'hub-z', {}, 404],
    ['of somebody else', 'hub-a', { token: 'stranger' }, 401],
    ['in a version of provisioning services', 'hub-a', { apiVersion: '2022-12-12' }, 400],
    ['without a version', 'hub-a', { apiVersion: '' }, 400],
    ['that deletes without If-Match', 'hub-a', { method: 'DELETE', path: '/x' }, 400],
    ['for a certificate that is not there', 'hub-a', { path: '/x' }, 404],
  ])('refuses a request %s', async (_what, hub, request, status) => {
    const answer = await hubCertificates(cloud, hub, request)
    expect(answer.status).toBe(status)
    expect(answer.json['error']).toMatchObject({ code: expect.any(String) as string })
  })
})
