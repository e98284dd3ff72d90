import { generateKeyPairSync, type KeyObject } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import type { Thumbprint } from '../../src/brands.ts'
import { checkIssuedChain, type IssuedChain } from '../../src/certificate/check-issued-chain.ts'
import { readCertificate } from '../../src/certificate/read-certificate.ts'
import * as x509 from '../../src/certificate/x509.ts'
import { certificatesInPem, toPem } from '../../src/hsm/pem.ts'
import { clientExtensions, TestAuthority, type LeafOptions } from '../support/test-authority.ts'

const minute = 60_000
const hour = 60 * minute
const now = Date.now()
const inHours = (hours: number): Date => new Date(now + hours * hour)

const publicKey = newPublicKey()
let root: TestAuthority
let upper: TestAuthority
let lower: TestAuthority

beforeAll(async () => {
  root = await TestAuthority.root()
  upper = await root.intermediate('Upper')
  lower = await upper.intermediate('Lower')
})

function newPublicKey(): Uint8Array {
  const key: KeyObject = generateKeyPairSync('ec', { namedCurve: 'P-256' }).publicKey
  return Uint8Array.from(key.export({ type: 'spki', format: 'der' }))
}

function check(chain: string, more: Partial<IssuedChain> = {}): string {
  return checkIssuedChain({ chain, publicKey, commonName: 'device-1', now, ...more })
}

async function checkLeaf(options: LeafOptions, more: Partial<IssuedChain> = {}): Promise<string> {
  return check(await lower.issue(publicKey, options), more)
}

/** The PEM certificates of a chain, one text each. */
function parts(chain: string): string[] {
  return certificatesInPem(chain).map((der) => toPem([der]))
}

describe('an ordinary chain', () => {
  test('is given back as it is', async () => {
    const chain = await lower.issue(publicKey)
    expect(parts(chain)).toHaveLength(3)
    expect(check(chain)).toBe(toPem(certificatesInPem(chain)))
  })

  test('may be a leaf alone', async () => {
    expect(parts(check(await root.issue(publicKey)))).toHaveLength(1)
  })

  test('loses the root at its end, and text between its certificates', async () => {
    const chain = await lower.issue(publicKey)
    const said = `subject=CN=device-1\n${parts(chain).join('issuer=...\n')}${root.pem}\n`
    expect(check(said)).toBe(check(chain))
  })

  test('may have a leaf without extensions', async () => {
    expect(parts(await checkLeaf({ extensions: [] }))).toHaveLength(3)
  })
})

describe('a certs-only PKCS#7 message', () => {
  const message = (chain: string, format: 'pem' | 'base64'): string => {
    const certificates = certificatesInPem(chain).map((der) => new x509.X509Certificate(Uint8Array.from(der)))
    return new x509.X509Certificates(certificates.reverse()).export(format)
  }

  test.each(['pem', 'base64'] as const)('as %s is put in order', async (format) => {
    const chain = await lower.issue(publicKey)
    expect(check(message(`${chain}${root.pem}`, format))).toBe(check(chain))
  })

  test('with a stranger in it is refused', async () => {
    const stranger = await TestAuthority.root('Stranger')
    const chain = `${await lower.issue(publicKey)}${stranger.pem}`
    expect(() => check(message(chain, 'base64'))).toThrow(code('CERT_CHAIN_BROKEN'))
  })

  test('without a leaf for the key is refused', async () => {
    const chain = await lower.issue(newPublicKey())
    expect(() => check(message(chain, 'base64'))).toThrow(code('CERT_KEY_MISMATCH'))
  })
})

describe('CERT_UNREADABLE', () => {
  test.each([
    ['nothing', ''],
    ['a web page', '<html><body>Sign in</body></html>'],
    ['JSON', '{"certificate":"MIIB"}'],
    ['base64 of something else', Buffer.from('hello').toString('base64')],
    ['PEM of something else', '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n'],
    ['an empty PEM block', '-----BEGIN CERTIFICATE-----\n-----END CERTIFICATE-----\n'],
    ['a key', '-----BEGIN PUBLIC KEY-----\nMAA=\n-----END PUBLIC KEY-----\n'],
  ])('for %s', (_what, text) => {
    expect(() => check(text)).toThrow(code('CERT_UNREADABLE'))
  })

  test('for a certificate that is cut off', async () => {
    const [der = Buffer.of()] = certificatesInPem(await lower.issue(publicKey))
    expect(() => check(toPem([der.subarray(0, -10)]))).toThrow(code('CERT_UNREADABLE'))
  })
})

describe('CERT_UNREADABLE for an intermediate', () => {
  test.each<[string, (chain: string) => string]>([
    ['that is cut off with the answer', (chain) => chain.slice(0, -200)],
    [
      'with a damaged character',
      (chain) => chain.replace(/(END CERTIFICATE-----\s+-----BEGIN CERTIFICATE-----\s.{10})./, '$1*'),
    ],
    [
      'in another kind of block',
      (chain) => chain.replace(/CERTIFICATE-----(?=\s*$)/, 'TRUSTED CERTIFICATE-----'),
    ],
  ])('%s: it does not pass for one that was never sent', async (_what, damage) => {
    const damaged = damage(await lower.issue(publicKey))
    expect(() => check(damaged)).toThrow(code('CERT_UNREADABLE'))
  })
})

describe('CERT_TOO_LARGE', () => {
  test('for more than 64 KiB', async () => {
    const chain = await lower.issue(publicKey)
    expect(() => check(`${chain}${'\n'.repeat(64 * 1024)}`)).toThrow(code('CERT_TOO_LARGE'))
  })

  test('for more than ten certificates', async () => {
    const chain = await lower.issue(publicKey)
    expect(() => check(`${chain}${root.pem}\n`.repeat(3))).toThrow(code('CERT_TOO_LARGE'))
  })
})

describe('CERT_NOT_NEW', () => {
  test('for the active certificate, although its key differs too', async () => {
    const active = await lower.issue(newPublicKey())
    const thumbprintsInUse = ['0'.repeat(64) as Thumbprint, readCertificate(active).thumbprint]
    expect(() => check(active, { thumbprintsInUse })).toThrow(code('CERT_NOT_NEW'))
    expect(() => check(active)).toThrow(code('CERT_KEY_MISMATCH'))
  })
})

describe('CERT_KEY_MISMATCH', () => {
  test('for another key', async () => {
    const chain = await lower.issue(newPublicKey())
    expect(() => check(chain)).toThrow(code('CERT_KEY_MISMATCH'))
  })

  test('for a chain with its leaf last', async () => {
    const chain = parts(await lower.issue(publicKey))
      .reverse()
      .join('')
    expect(() => check(chain)).toThrow(code('CERT_KEY_MISMATCH'))
  })
})

describe('CERT_COMMON_NAME_CHANGED', () => {
  test.each([
    ['another name', 'CN=device-2'],
    ['another case', 'CN=Device-1'],
    ['a longer name', 'CN=device-1.example'],
    ['no common name', 'O=device-1'],
    ['two common names', 'CN=device-1, CN=device-2'],
    ['the same common name twice', 'CN=device-1, CN=device-1'],
  ])('for %s', async (_what, subject) => {
    await expect(checkLeaf({ subject })).rejects.toThrow(code('CERT_COMMON_NAME_CHANGED'))
  })

  test('but not for another organization around it', async () => {
    expect(parts(await checkLeaf({ subject: 'O=Acme, CN=device-1' }))).toHaveLength(3)
  })
})

describe('validity', () => {
  test.each([
    ['begins in an hour', inHours(1), inHours(2), 'CERT_NOT_YET_VALID'],
    ['ended an hour ago', inHours(-2), inHours(-1), 'CERT_EXPIRED'],
    ['ends now', inHours(-2), new Date(Math.floor(now / 1000) * 1000), 'CERT_EXPIRED'],
  ])('of a leaf that %s: %s to %s gives %s', async (_what, notBefore, notAfter, expected) => {
    await expect(checkLeaf({ notBefore, notAfter })).rejects.toThrow(code(expected))
  })

  test('may begin a little in the future, because clocks differ', async () => {
    const notBefore = new Date(now + 4 * minute)
    expect(parts(await checkLeaf({ notBefore }))).toHaveLength(3)
    await expect(checkLeaf({ notBefore }, { clockSkewMs: minute })).rejects.toThrow(
      code('CERT_NOT_YET_VALID'),
    )
  })

  test('counts for the issuers too', async () => {
    const dates = { notBefore: inHours(-2), notAfter: inHours(-1) }
    const expired = await root.intermediate('Expired', dates)
    const chain = await expired.issue(publicKey)
    expect(() => check(chain)).toThrow(code('CERT_EXPIRED'))
    expect(() => check(chain)).toThrow(/CN=Expired/)
  })
})

describe('CERT_USAGE', () => {
  const { KeyUsagesExtension: Usage, KeyUsageFlags: flags, ExtendedKeyUsage: purpose } = x509
  const Purpose = x509.ExtendedKeyUsageExtension

  test.each([
    ['a server', [new Purpose([purpose.serverAuth])]],
    ['any purpose, which servers refuse', [new Purpose(['2.5.29.37.0'])]],
    ['encryption', [new Usage(flags.keyEncipherment, true)]],
    ['an authority', [new x509.BasicConstraintsExtension(true)]],
  ])('for %s', async (_what, extensions) => {
    await expect(checkLeaf({ extensions })).rejects.toThrow(code('CERT_USAGE'))
  })

  test.each([
    ['a client', [new Purpose([purpose.clientAuth])]],
    ['a client and a server', [new Purpose([purpose.serverAuth, purpose.clientAuth])]],
    ['signatures and more', [new Usage(flags.digitalSignature | flags.keyAgreement, true)]],
    ['an ordinary leaf', clientExtensions],
  ])('not for %s', async (_what, extensions) => {
    expect(parts(await checkLeaf({ extensions }))).toHaveLength(3)
  })
})

describe('CERT_CHAIN_BROKEN', () => {
  test('for issuers in the wrong order', async () => {
    const [leaf = '', one = '', two = ''] = parts(await lower.issue(publicKey))
    expect(() => check(leaf + two + one)).toThrow(code('CERT_CHAIN_BROKEN'))
  })

  test('for a missing link', async () => {
    const [leaf = '', , two = ''] = parts(await lower.issue(publicKey))
    expect(() => check(leaf + two)).toThrow(code('CERT_CHAIN_BROKEN'))
  })

  test('for an issuer of the same name with another key', async () => {
    const impostor = await root.intermediate('Lower')
    const [leaf = ''] = parts(await lower.issue(publicKey))
    expect(() => check(`${leaf}${impostor.pem}`)).toThrow(code('CERT_CHAIN_BROKEN'))
  })

  test('for an issuer that is no authority', async () => {
    const device = await root.intermediate('Device', { extensions: clientExtensions })
    await expect(device.issue(publicKey).then((chain) => check(chain))).rejects.toThrow(
      code('CERT_CHAIN_BROKEN'),
    )
  })
})

function code(expected: string): unknown {
  return expect.objectContaining({ code: expected })
}
