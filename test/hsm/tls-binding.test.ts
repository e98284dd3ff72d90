import { X509Certificate } from 'node:crypto'
import type tls from 'node:tls'
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest'
import type { Pem } from '../../src/brands.ts'
import type { KeyType } from '../../src/hsm/key-store.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { newHsmCredential, type HsmCredential } from '../support/hsm-credential.ts'
import { startMutualTls, type MutualTls } from '../support/mutual-tls.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { TestAuthority } from '../support/test-authority.ts'

const hsm = createTestHsm()
const versions = ['TLSv1.2', 'TLSv1.3'] as const
let token: HsmToken
let authority: TestAuthority
let servers: Record<(typeof versions)[number], MutualTls>

beforeAll(async () => {
  token = await hsm.open()
  authority = await TestAuthority.root()
  servers = {
    'TLSv1.2': await startMutualTls(authority, { maxVersion: 'TLSv1.2' }),
    'TLSv1.3': await startMutualTls(authority, { minVersion: 'TLSv1.3' }),
  }
})

afterAll(async () => {
  await token.close()
  for (const server of Object.values(servers)) server.close()
  hsm.remove()
})

function newCredential(agentName: string, keyType: KeyType = 'EC-P256', number = 1): Promise<HsmCredential> {
  return newHsmCredential(token, authority, agentName, { keyType, number })
}

function contextOf({ keyUri, chain }: HsmCredential): tls.SecureContext {
  return token.tls.secureContext(keyUri, chain, authority.pem)
}

describe.each<KeyType>(['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072'])('a key of type %s', (keyType) => {
  test.each(versions)('authenticates the client with %s', async (version) => {
    const name = `${keyType}-${version}`
    const context = contextOf(await newCredential(name, keyType))
    expect(await servers[version].handshake(context)).toBe(`${name} ${version}`)
  })
})

describe('a context', () => {
  test('is kept for the same key, chain and authorities', async () => {
    const one = await newCredential('kept')
    expect(contextOf(one)).toBe(contextOf({ ...one }))
    expect(token.tls.secureContext(one.keyUri, one.chain, undefined)).not.toBe(contextOf(one))
    const renewed = await authority.issue(publicKeyOf(one.chain), { commonName: 'kept' })
    expect(contextOf({ ...one, chain: renewed })).not.toBe(contextOf(one))
  })

  test('agrees on no higher version than is wanted, beside one that does', async () => {
    const one = await newCredential('older')
    const both = await startMutualTls(authority)
    onTestFinished(() => both.close())
    const older = token.tls.secureContext(one.keyUri, one.chain, authority.pem, 'TLSv1.2')
    expect(await both.handshake(contextOf(one))).toBe('older TLSv1.3')
    expect(await both.handshake(older)).toBe('older TLSv1.2')
    expect(token.tls.secureContext(one.keyUri, one.chain, authority.pem, 'TLSv1.2')).toBe(older)
  })

  test('is made anew after forget', async () => {
    const credential = await newCredential('forgotten')
    const context = contextOf(credential)
    token.tls.forget(credential.keyUri)
    expect(contextOf(credential)).not.toBe(context)
    expect(await servers['TLSv1.3'].handshake(contextOf(credential))).toBe('forgotten TLSv1.3')
  })

  test('trusts nobody but the given authorities', async () => {
    const { keyUri, chain } = await newCredential('careful')
    const other = await TestAuthority.root('Stranger')
    const context = token.tls.secureContext(keyUri, chain, other.pem)
    await expect(servers['TLSv1.3'].handshake(context)).rejects.toThrow(/self-signed|unable to/)
  })

  test('serves many connections at a time', async () => {
    const context = contextOf(await newCredential('busy'))
    const answers = await Promise.all(Array.from({ length: 40 }, () => servers['TLSv1.3'].handshake(context)))
    expect(new Set(answers)).toEqual(new Set(['busy TLSv1.3']))
  })
})

describe('a key that cannot be used', () => {
  test('because it was destroyed says so, and the other generations go on', async () => {
    const keys = token.keyStore('rolled')
    const [old, next] = [
      await newCredential('rolled', 'EC-P256', 1),
      await newCredential('rolled', 'EC-P256', 2),
    ]
    contextOf(old)
    const [first] = await keys.list()
    if (first === undefined) throw new TypeError('no generation')
    await keys.destroy(first.keyId)
    expect(() => contextOf(old)).toThrow(
      expect.objectContaining({
        code: 'TLS_KEY_UNUSABLE',
        message: expect.stringContaining('has no such private key') as string,
      }),
    )
    expect(await servers['TLSv1.3'].handshake(contextOf(next))).toBe('rolled TLSv1.3')
  })

  test('because the chain is for another key says so', async () => {
    const [one, other] = [await newCredential('one'), await newCredential('other')]
    expect(() => token.tls.secureContext(one.keyUri, other.chain, authority.pem)).toThrow(
      expect.objectContaining({ code: 'TLS_KEY_UNUSABLE', reason: 'ERR_OSSL_X509_KEY_VALUES_MISMATCH' }),
    )
  })

  test('because the URI names none says so', async () => {
    const { chain } = await newCredential('nameless')
    expect(() => token.tls.secureContext('pkcs11:token=x', chain, undefined)).toThrow(
      expect.objectContaining({ code: 'TLS_KEY_UNUSABLE' }),
    )
  })
})

test('a key URI names token and key, and no PIN', async () => {
  const { keyUri } = await newCredential('named')
  expect(keyUri).toMatch(/^pkcs11:token=[^;]+;serial=[0-9a-f]+;id=(%[0-9A-F]{2}){20};type=private$/)
  expect(keyUri).not.toContain(hsm.pin.reveal())
})

function publicKeyOf(chain: Pem): Uint8Array {
  return Uint8Array.from(new X509Certificate(chain).publicKey.export({ type: 'spki', format: 'der' }))
}
