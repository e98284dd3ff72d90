import { beforeAll, expect, test } from 'vitest'
import { pemOfDerChain } from '../../src/certificate/der-chain.ts'
import { certificatesInPem } from '../../src/hsm/pem.ts'
import { TestAuthority } from '../support/test-authority.ts'

let chain: string
let ders: string[]

beforeAll(async () => {
  const authority = await (await TestAuthority.root()).intermediate('Lower')
  chain = await authority.issue(new Uint8Array(authority.certificate.publicKey.rawData))
  ders = certificatesInPem(chain).map((der) => der.toString('base64'))
})

test('what a service answers becomes the PEM chain, the leaf first', () => {
  expect(ders).toHaveLength(2)
  expect(certificatesInPem(pemOfDerChain(ders))).toEqual(certificatesInPem(chain))
})

test('one certificate is a chain too, padded or not', () => {
  for (const der of ['MAA=', 'MAAA', 'MA=='])
    expect(certificatesInPem(pemOfDerChain([der]))).toEqual([Buffer.from(der, 'base64')])
})

test.each<[string, unknown]>([
  ['nothing', undefined],
  ['a text', 'MAA='],
  ['what only looks like a list', { length: 1, 0: 'MAA=' }],
  ['an empty list', []],
])('%s is no list of certificates', (_what, answer) => {
  expect(() => pemOfDerChain(answer)).toThrow(unreadable('no list of certificates'))
})

test.each<[string, unknown]>([
  ['a number', 7],
  ['a list with a text', ['MAA=']],
  ['an empty text', ''],
  ['PEM', '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----'],
  ['Base64 with a break', 'MA\nA='],
  ['padding in front', '=MAA'],
  ['too much padding', 'MAA==='],
  ['Base64url', 'MA-_'],
])('%s among them is not DER in Base64', (_what, member) => {
  expect(() => pemOfDerChain([...ders, member])).toThrow(unreadable('something else than DER in Base64'))
})

function unreadable(why: string): unknown {
  return expect.objectContaining({
    code: 'CERT_UNREADABLE',
    message: expect.stringContaining(why) as unknown,
  })
}
