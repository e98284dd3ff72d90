import { webcrypto, X509Certificate } from 'node:crypto'
import { beforeAll, describe, expect, test } from 'vitest'
import {
  base64OfRequest,
  createCertificateRequest,
  publicKeyOfRequest,
} from '../../src/certificate/request.ts'
import * as x509 from '../../src/certificate/x509.ts'
import { certificateNames } from '../../src/hsm/certificate-names.ts'
import type { KeyType } from '../../src/hsm/key-store.ts'
import { softwareSigner } from '../support/software-signer.ts'
import { clientExtensions, TestAuthority } from '../support/test-authority.ts'

// What a request says. That a key in the HSM signs it: request-by-hsm.test.ts.

let authority: TestAuthority

beforeAll(async () => {
  authority = await TestAuthority.root()
})

describe('a request', () => {
  // RFC 5758, 3.2 and RFC 4055, 5: the algorithm that an authority expects for such a key.
  test.each<[KeyType, string, string]>([
    ['EC-P256', 'ECDSA', 'SHA-256'],
    ['EC-P384', 'ECDSA', 'SHA-384'],
    ['RSA-2048', 'RSASSA-PKCS1-v1_5', 'SHA-256'],
    ['RSA-3072', 'RSASSA-PKCS1-v1_5', 'SHA-256'],
  ])('for an %s key is signed by it with %s over %s', async (keyType, name, hash) => {
    const signer = softwareSigner(keyType)
    const csr = await createCertificateRequest({ signer, subject: { commonName: 'device-1' } })
    const request = new x509.Pkcs10CertificateRequest(csr)
    expect(request.signatureAlgorithm).toMatchObject({ name, hash: { name: hash } })
    expect(await request.verify(webcrypto)).toBe(true)
    expect(publicKeyOfRequest(csr)).toEqual(signer.publicKey)
  })

  test('for a name says that name and asks for nothing else', async () => {
    const csr = await createCertificateRequest({
      signer: softwareSigner(),
      subject: { commonName: 'Gerät, №1' },
    })
    const request = new x509.Pkcs10CertificateRequest(csr)
    expect(request.subjectName.toJSON()).toEqual([{ CN: ['Gerät, №1'] }])
    expect(request.extensions).toEqual([])
    // RFC 5280, 4.1.2.4: a UTF8String, whatever the characters.
    expect(Buffer.from(request.rawData).includes(Buffer.from('0c0c', 'hex'))).toBe(true)
  })

  test('is PEM that ends its last line, and its DER in Base64 for the services', async () => {
    const csr = await createCertificateRequest({
      signer: softwareSigner(),
      subject: { commonName: 'device-1' },
    })
    expect(csr).toMatch(/^-----BEGIN CERTIFICATE REQUEST-----\n[^-]+\n-----END CERTIFICATE REQUEST-----\n$/)
    const { rawData } = new x509.Pkcs10CertificateRequest(csr)
    expect(base64OfRequest(csr)).toBe(Buffer.from(rawData).toString('base64'))
    expect(base64OfRequest(csr.replaceAll('\n', '\r\n'))).toBe(base64OfRequest(csr))
  })
})

test('a request whose signature was changed does not verify', async () => {
  const csr = await createCertificateRequest({
    signer: softwareSigner(),
    subject: { commonName: 'device-1' },
  })
  const der = Buffer.from(new x509.Pkcs10CertificateRequest(csr).rawData)
  der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1)
  expect(await new x509.Pkcs10CertificateRequest(der).verify(webcrypto)).toBe(false)
})

describe('a request after an active certificate', () => {
  const alternatives = new x509.SubjectAlternativeNameExtension(
    [
      { type: 'dns', value: 'device-1.example' },
      { type: 'url', value: 'urn:device:1' },
      { type: 'ip', value: '192.0.2.7' },
    ],
    true,
  )

  test.each([
    ['a common name', 'CN=device-1', []],
    ['a long name', 'C=DE, O=Grün \\+ Söhne\\, Berlin, OU=Field, CN=device-1', []],
    ['a common name that is not ASCII', 'CN=Gerät №1', []],
    ['two attributes in one part', new x509.Name([{ CN: ['device-1'], '2.5.4.5': ['42'] }]), []],
    [
      'other kinds of string',
      new x509.Name([
        { C: [{ printableString: 'DE' }] },
        { O: [{ bmpString: 'Acme' }] },
        { OU: [{ ia5String: 'Field' }] },
        { CN: [{ printableString: 'device-1' }] },
      ]),
      [],
    ],
    ['alternative names', 'CN=device-1', [alternatives]],
  ])('with %s asks for the same again, byte for byte', async (_what, subject, extensions) => {
    const active = await authority.issue(softwareSigner().publicKey, {
      subject,
      extensions: [...clientExtensions, ...extensions],
    })
    const csr = await createCertificateRequest({ signer: softwareSigner(), subject: active })

    const der = Buffer.from(new x509.Pkcs10CertificateRequest(csr).rawData)
    const { raw } = new X509Certificate(active)
    const { subject: name } = certificateNames(raw)
    expect(der.includes(name)).toBe(true)
    const had = new x509.X509Certificate(Uint8Array.from(raw)).getExtensions('2.5.29.17')
    expect(had).toHaveLength(extensions.length)
    for (const { rawData } of had) expect(der.includes(Buffer.from(rawData))).toBe(true)
    expect(new x509.Pkcs10CertificateRequest(csr).getExtensions('2.5.29.17')).toHaveLength(extensions.length)
  })
})

test('a request has what an issuer wants in it, and no second set of alternative names', async () => {
  const names = new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'device-1.example' }])
  const others = new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'another.example' }])
  const usage = new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true)
  const active = await authority.issue(softwareSigner().publicKey, {
    subject: 'CN=device-1',
    extensions: [...clientExtensions, names],
  })
  const csr = await createCertificateRequest({
    signer: softwareSigner(),
    subject: active,
    additions: {
      challengePassword: 'p/+=',
      extensions: [others, usage].map(({ rawData }) => new Uint8Array(rawData)),
    },
  })
  const request = new x509.Pkcs10CertificateRequest(csr)
  expect(await request.verify(webcrypto)).toBe(true)
  expect(request.extensions.map(({ rawData }) => Buffer.from(rawData))).toEqual(
    [names, usage].map(({ rawData }) => Buffer.from(rawData)),
  )
  expect(request.getAttribute('1.2.840.113549.1.9.7')).toMatchObject({ password: 'p/+=' })
})

test.each(['', 'nonsense', '-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----\n'])(
  'an active certificate that is none (%j) is refused',
  async (subject) => {
    await expect(createCertificateRequest({ signer: softwareSigner(), subject })).rejects.toMatchObject({
      code: 'CERT_UNREADABLE',
    })
  },
)
