import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { generateKeyFile, SimulatedCloud, TestAuthority, type DeviceRegistry } from 'leafkeeper-sim'

let cloud: SimulatedCloud
let registry: DeviceRegistry

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  registry = cloud.hub('hub-a').registry
})
afterAll(() => cloud.close())

const authentication = { type: 'certificateAuthority' } as const
const failsWith = (status: number): Error => expect.objectContaining({ status }) as Error

describe('the registry of a hub', () => {
  it('keeps a device with every field that Azure has for it', () => {
    const thumbprint = 'aa:bb:cc'
    const record = registry.create({
      deviceId: 'device-1',
      authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: thumbprint } },
    })
    expect(record).toEqual({
      deviceId: 'device-1',
      generationId: expect.stringMatching(/^\d{18}$/) as string,
      etag: expect.any(String) as string,
      status: 'enabled',
      statusReason: null,
      statusUpdatedTime: '0001-01-01T00:00:00Z',
      connectionState: 'Disconnected',
      connectionStateUpdatedTime: '0001-01-01T00:00:00Z',
      lastActivityTime: '0001-01-01T00:00:00Z',
      capabilities: { iotEdge: false },
      authentication: {
        type: 'selfSigned',
        x509Thumbprint: { primaryThumbprint: 'AABBCC', secondaryThumbprint: null },
      },
    })
    expect(registry.get('device-1')).toEqual(record)
    expect(registry.get('DEVICE-1')).toBeUndefined()
    expect(registry.list()).toEqual([record])
  })

  it('changes and deletes the version it is asked to', () => {
    const { etag } = registry.create({ deviceId: 'device-2', authentication })
    const disabled = registry.update('device-2', { status: 'disabled' }, etag)
    expect(disabled).toMatchObject({ status: 'disabled', authentication: { type: 'certificateAuthority' } })
    expect(disabled.etag).not.toBe(etag)
    expect(() => registry.update('device-2', {}, etag)).toThrow(failsWith(412))
    expect(() => registry.delete('device-2', etag)).toThrow(failsWith(412))
    registry.delete('device-2', disabled.etag)
    expect(registry.get('device-2')).toBeUndefined()
  })

  it('refuses a second device of one name, an impossible name, and what is not there', () => {
    registry.create({ deviceId: 'device-3', authentication })
    expect(() => registry.create({ deviceId: 'device-3', authentication })).toThrow(failsWith(409))
    expect(() => registry.create({ deviceId: 'a/b', authentication })).toThrow(failsWith(400))
    expect(() => registry.update('nobody', {})).toThrow(failsWith(404))
    expect(() => registry.delete('nobody')).toThrow(failsWith(404))
    expect(() => cloud.hub('hub-a').twin('nobody')).toThrow(failsWith(404))
  })

  it('trusts authorities, and nothing else', async () => {
    const { trustedAuthorities } = cloud.hub('hub-a')
    const root = await TestAuthority.createRoot({ commonName: 'trusted' })
    const { publicKey } = await generateKeyFile()
    const leaf = await root.issueLeaf({ commonName: 'x', publicKey })
    expect(() => trustedAuthorities.add(leaf.certificate)).toThrow('expected the certificate of an authority')
    expect(() => trustedAuthorities.add('nonsense')).toThrow('expected a certificate as PEM')
    expect(trustedAuthorities.add(root.certificate)).toMatch(/^[0-9A-F]{64}$/)
    expect(trustedAuthorities.delete(root.certificate)).toBe(true)
    expect(trustedAuthorities.delete(root.certificate)).toBe(false)
  })
})
