import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto'
import { readdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import type { Pem } from '../../src/brands.ts'
import type { KeyStore, KeyType } from '../../src/hsm/key-store.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { certificatesInPem } from '../../src/hsm/pem.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { TestAuthority } from '../support/test-authority.ts'

const hsm = createTestHsm()
let token: HsmToken

beforeAll(async () => {
  token = await hsm.open()
})

afterAll(async () => {
  await token.close()
  hsm.remove()
})

const keyTypes: KeyType[] = ['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072']
const hashes = ['SHA-256', 'SHA-384', 'SHA-512'] as const

/** A key store that no other test uses. */
let agents = 0
function newKeyStore(): KeyStore {
  agents += 1
  return token.keyStore(`agent-${agents}`)
}

describe.each(keyTypes)('a key pair of type %s', (keyType) => {
  test('is described as it was made', async () => {
    const keys = newKeyStore()
    const made = await keys.generate(1, keyType)
    expect(made).toMatchObject({ number: 1, keyType, hasPrivateKey: true, chain: undefined })
    expect(await keys.list()).toEqual([made])
  })

  test.each(hashes)('signs with %s so that its public key verifies', async (hash) => {
    const keys = newKeyStore()
    const { keyId } = await keys.generate(1, keyType)
    const signer = await keys.signer(keyId)
    const data = randomBytes(1000)
    const signature = await signer.sign(data, hash)
    const key = createPublicKey({ key: Buffer.from(signer.publicKey), format: 'der', type: 'spki' })
    const name = hash.replace('-', '')
    expect(verify(name, data, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true)
    data[0] = (data[0] ?? 0) ^ 1
    expect(verify(name, data, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(false)
  })

  test('is sensitive and never extractable, says pkcs11-tool', async () => {
    const keys = newKeyStore()
    const { keyId } = await keys.generate(1, keyType)
    const listed = hsm.objects(keyId).find((object) => object.startsWith('Private Key'))
    expect(listed).toContain('Access:     sensitive, always sensitive, never extractable, local')
    expect(await keys.protection(keyId)).toEqual({
      sensitive: true,
      alwaysSensitive: true,
      extractable: false,
      neverExtractable: true,
    })
    expect(/Usage: +(.*)/.exec(listed ?? '')?.[1]?.trim()).toBe('sign')
  })
})

describe('generate', () => {
  test('gives the same key pair again', async () => {
    const keys = newKeyStore()
    const [one, other] = await Promise.all([keys.generate(7, 'EC-P256'), keys.generate(7, 'EC-P256')])
    expect(other).toEqual(one)
    expect(await keys.generate(7, 'EC-P256')).toEqual(one)
    expect(await keys.list()).toHaveLength(1)
  })

  test('refuses another type for a generation that has a key pair', async () => {
    const keys = newKeyStore()
    await keys.generate(1, 'EC-P256')
    await expect(keys.generate(1, 'RSA-2048')).rejects.toMatchObject({ code: 'HSM_KEY_EXISTS' })
    expect(await keys.list()).toMatchObject([{ keyType: 'EC-P256' }])
  })

  test.each(['pubkey', 'privkey'] as const)('makes a whole pair where a crash left no %s', async (type) => {
    const keys = newKeyStore()
    const { keyId, publicKey } = await keys.generate(1, 'EC-P256')
    hsm.deleteObject(type, keyId)
    const again = await keys.generate(1, 'EC-P256')
    expect(again).toMatchObject({ keyId, hasPrivateKey: true })
    expect(again.publicKey).not.toEqual(publicKey)
    expect(hsm.objects(keyId)).toHaveLength(2)
  })

  test('never replaces a private key that was certified', async () => {
    const keys = newKeyStore()
    const { keyId, publicKey } = await keys.generate(1, 'EC-P256')
    await keys.storeCertificate(keyId, await (await TestAuthority.root()).issue(present(publicKey)))
    hsm.deleteObject('pubkey', keyId)
    await expect(keys.generate(1, 'EC-P256')).rejects.toMatchObject({ code: 'HSM_KEY_EXISTS' })
    expect(hsm.objects(keyId)).toHaveLength(2)
  })

  test.each([-1, 1.5, Number.NaN, 1e10])('refuses the number %s', async (number) => {
    await expect(newKeyStore().generate(number, 'EC-P256')).rejects.toMatchObject({
      code: 'AGENT_CONFIG_INVALID',
    })
  })
})

describe('many agents on a token', () => {
  test('see only their own generations, also where one name begins another', async () => {
    const [short, long] = [token.keyStore('gate'), token.keyStore('gate:1')]
    const mine = await short.generate(1, 'EC-P256')
    const other = await long.generate(1, 'EC-P256')
    expect(await short.list()).toEqual([mine])
    expect(await long.list()).toEqual([other])
    await short.destroy(other.keyId)
    expect(await long.list()).toEqual([other])
    await expect(short.signer(other.keyId)).rejects.toMatchObject({ code: 'HSM_KEY_NOT_FOUND' })
  })

  test('name their keys by a digest, so that another process finds the same', async () => {
    const { keyId } = await token.keyStore('gateway').generate(3, 'EC-P256')
    expect(keyId).toBe(createHash('sha256').update('leafkeeper:gateway:3').digest('hex').slice(0, 40))
  })

  test.each(['', 'a b', 'ä', 'x'.repeat(129), 'a/b', 'a;b'])('refuse the name %j', (name) => {
    expect(() => token.keyStore(name)).toThrow(expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }))
  })
})

describe('certificates', () => {
  test('come back leaf first, with the intermediates that were stored', async () => {
    const keys = newKeyStore()
    const { keyId, publicKey } = await keys.generate(1, 'EC-P256')
    const root = await TestAuthority.root()
    const issuer = await (await root.intermediate('Upper')).intermediate('Lower')
    const chain = await issuer.issue(present(publicKey))
    await keys.storeCertificate(keyId, chain)
    await keys.storeCertificate(keyId, chain)
    const [stored] = await keys.list()
    expect(ders(stored?.chain)).toEqual(ders(chain))
    expect(ders(chain)).toHaveLength(3)
  })

  test('are replaced by a later chain for the same key', async () => {
    const keys = newKeyStore()
    const { keyId, publicKey } = await keys.generate(1, 'EC-P256')
    const [old, next] = await Promise.all([TestAuthority.root('Old'), TestAuthority.root('New')])
    await keys.storeCertificate(keyId, await (await old.intermediate('Old CA')).issue(present(publicKey)))
    const chain = await next.issue(present(publicKey))
    await keys.storeCertificate(keyId, chain)
    expect((await keys.list()).map((generation) => ders(generation.chain))).toEqual([ders(chain)])
    expect(hsm.objects(keyId).filter((object) => object.startsWith('Certificate'))).toHaveLength(1)
  })

  test('without their leaf are not a chain yet', async () => {
    const { keyId, publicKey } = await token.keyStore('interrupted').generate(1, 'EC-P256')
    const issuer = await (await TestAuthority.root()).intermediate('Lower')
    const chain = await issuer.issue(present(publicKey))
    const file = join(hsm.folder, 'issuer.der')
    writeFileSync(file, Buffer.from(issuer.certificate.rawData))
    const label = 'leafkeeper:interrupted:1'
    hsm.pkcs11Tool('--write-object', file, '--type', 'cert', '--id', keyId, '--label', label)

    // As after a start: what another process wrote is seen by a new key store.
    const keys = token.keyStore('interrupted')
    expect(await keys.list()).toMatchObject([{ keyId, chain: undefined }])
    await keys.storeCertificate(keyId, chain)
    expect((await keys.list()).map((generation) => ders(generation.chain))).toEqual([ders(chain)])
    expect(hsm.objects(keyId).filter((object) => object.startsWith('Certificate'))).toHaveLength(2)
  })

  test('for another key are refused', async () => {
    const keys = newKeyStore()
    const [one, other] = [await keys.generate(1, 'EC-P256'), await keys.generate(2, 'EC-P256')]
    const chain = await (await TestAuthority.root()).issue(present(other.publicKey))
    await expect(keys.storeCertificate(one.keyId, chain)).rejects.toMatchObject({ code: 'CERT_KEY_MISMATCH' })
    expect((await keys.list()).map((generation) => generation.chain)).toEqual([undefined, undefined])
  })

  test.each(['', 'nonsense', '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n'])(
    'that are not one (%j) are refused',
    async (text) => {
      const keys = newKeyStore()
      const { keyId } = await keys.generate(1, 'EC-P256')
      await expect(keys.storeCertificate(keyId, text as Pem)).rejects.toMatchObject({
        code: 'CERT_UNREADABLE',
      })
    },
  )

  test('need their key', async () => {
    const keys = newKeyStore()
    const { keyId, publicKey } = await keys.generate(1, 'EC-P256')
    const chain = await (await TestAuthority.root()).issue(present(publicKey))
    await keys.destroy(keyId)
    await expect(keys.storeCertificate(keyId, chain)).rejects.toMatchObject({ code: 'HSM_KEY_NOT_FOUND' })
  })
})

describe('destroy', () => {
  test('leaves nothing of the generation and all of the others', async () => {
    const keys = newKeyStore()
    const [gone, kept] = [await keys.generate(1, 'EC-P256'), await keys.generate(2, 'EC-P256')]
    const authority = await TestAuthority.root()
    await keys.storeCertificate(gone.keyId, await authority.issue(present(gone.publicKey)))
    const signer = await keys.signer(gone.keyId)
    const before = objectFiles()
    await keys.destroy(gone.keyId)
    expect(await keys.list()).toEqual([kept])
    expect(before - objectFiles()).toBe(3)
    await expect(signer.sign(Buffer.from('x'), 'SHA-256')).rejects.toMatchObject({
      code: 'HSM_KEY_NOT_FOUND',
    })
  })

  test('of what is not there resolves', async () => {
    const keys = newKeyStore()
    const { keyId } = await keys.generate(1, 'EC-P256')
    await keys.destroy(keyId)
    await keys.destroy(keyId)
    expect(await keys.list()).toEqual([])
  })

  test('by somebody else is noticed', async () => {
    const keys = newKeyStore()
    const { keyId } = await keys.generate(1, 'EC-P256')
    const signer = await keys.signer(keyId)
    hsm.deleteObject('privkey', keyId)
    hsm.deleteObject('pubkey', keyId)
    await expect(signer.sign(Buffer.from('x'), 'SHA-256')).rejects.toMatchObject({
      code: 'HSM_KEY_NOT_FOUND',
    })
    expect(await keys.list()).toEqual([])
  })
})

function present<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new TypeError('expected a value')
  return value
}

function ders(chain: string | undefined): string[] {
  return certificatesInPem(chain ?? '').map((der) => der.toString('hex'))
}

function objectFiles(): number {
  return readdirSync(hsm.folder, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.object') && !name.endsWith('token.object'),
  ).length
}
