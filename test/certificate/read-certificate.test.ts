import { createHash, X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Pem } from '../../src/brands.ts'
import { readCertificate } from '../../src/certificate/read-certificate.ts'
import { TestAuthority, type LeafOptions } from '../support/test-authority.ts'

let authority: TestAuthority
let publicKey: Uint8Array

beforeAll(async () => {
  authority = await TestAuthority.root('Test Root')
  publicKey = new Uint8Array(authority.certificate.publicKey.rawData)
})

function issue(options: LeafOptions = {}): Promise<Pem> {
  return authority.issue(publicKey, options)
}

test('a certificate is read as OpenSSL reads it', async () => {
  const notBefore = new Date('2026-01-02T03:04:05Z')
  const notAfter = new Date('2051-06-07T08:09:10Z')
  const pem = await issue({ subject: 'O=Acme, CN=device-1', notBefore, notAfter })
  const seen = new X509Certificate(pem)
  expect(readCertificate(pem)).toEqual({
    commonName: 'device-1',
    subject: 'O=Acme, CN=device-1',
    issuer: 'CN=Test Root',
    serial: seen.serialNumber.toLowerCase(),
    notBefore,
    notAfter,
    thumbprint: seen.fingerprint256.replaceAll(':', ''),
    publicKey,
  })
  const digest = createHash('sha256').update(seen.raw).digest('hex').toUpperCase()
  expect(readCertificate(pem).thumbprint).toBe(digest)
})

test('of a chain the leaf is read', async () => {
  const chain = await (await authority.intermediate('Lower')).issue(publicKey)
  expect(readCertificate(chain).issuer).toBe('CN=Lower')
})

describe('the common name', () => {
  test.each([
    ['CN=device-1', 'device-1'],
    ['CN=a\\, b \\+ c', 'a, b + c'],
    ['CN=Gerät №1', 'Gerät №1'],
    ['O=Acme', undefined],
    ['CN=one, CN=two', undefined],
  ])('of %s is %s', async (subject, expected) => {
    expect(readCertificate(await issue({ subject })).commonName).toBe(expected)
  })
})

test.each(['', 'nonsense', '-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----'])(
  '%j is CERT_UNREADABLE',
  (text) => {
    expect(() => readCertificate(text)).toThrow(expect.objectContaining({ code: 'CERT_UNREADABLE' }))
  },
)
