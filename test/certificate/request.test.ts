import { webcrypto, X509Certificate } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createCertificateRequest } from '../../src/certificate/request.ts'
import * as x509 from '../../src/certificate/x509.ts'
import { certificateNames } from '../../src/hsm/certificate-names.ts'
import type { HsmSigner, KeyType } from '../../src/hsm/key-store.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { clientExtensions, TestAuthority } from '../support/test-authority.ts'

const hsm = createTestHsm()
let token: HsmToken
let authority: TestAuthority

beforeAll(async () => {
  token = await hsm.open()
  authority = await TestAuthority.root()
})

afterAll(async () => {
  await token.close()
  hsm.remove()
})

let agents = 0
async function newSigner(keyType: KeyType = 'EC-P256'): Promise<HsmSigner> {
  agents += 1
  const keys = token.keyStore(`agent-${agents}`)
  return await keys.signer((await keys.generate(1, keyType)).keyId)
}

describe.each<KeyType>(['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072'])(
  'a request for an %s key',
  (keyType) => {
    test('is signed by the key inside the HSM and carries its public key', async () => {
      const signer = await newSigner(keyType)
      const csr = await createCertificateRequest({ signer, subject: { commonName: 'device-1' } })
      const request = new x509.Pkcs10CertificateRequest(csr)
      expect(await request.verify(webcrypto)).toBe(true)
      expect(Buffer.from(request.publicKey.rawData)).toEqual(Buffer.from(signer.publicKey))
      expect(request.subject).toBe('CN=device-1')
    })
  },
)

test('a request whose signature was changed does not verify', async () => {
  const csr = await createCertificateRequest({
    signer: await newSigner(),
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
    const active = await authority.issue((await newSigner()).publicKey, {
      subject,
      extensions: [...clientExtensions, ...extensions],
    })
    const csr = await createCertificateRequest({ signer: await newSigner(), subject: active })

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
  const active = await authority.issue((await newSigner()).publicKey, {
    subject: 'CN=device-1',
    extensions: [...clientExtensions, names],
  })
  const csr = await createCertificateRequest({
    signer: await newSigner(),
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
    await expect(createCertificateRequest({ signer: await newSigner(), subject })).rejects.toMatchObject({
      code: 'CERT_UNREADABLE',
    })
  },
)
