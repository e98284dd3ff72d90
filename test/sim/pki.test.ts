import 'reflect-metadata'
import { webcrypto, X509Certificate } from 'node:crypto'
import {
  BasicConstraintsExtension,
  ExtendedKeyUsageExtension,
  KeyUsagesExtension,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  X509Certificate as ParsedCertificate,
} from '@peculiar/x509'
import { describe, expect, it } from 'vitest'
import {
  generateKeyFile,
  normalizeThumbprint,
  TestAuthority,
  thumbprint256,
  type KeyType,
} from 'leafkeeper-sim'

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

async function requestFor(commonName: string): Promise<{ csr: string; publicKey: webcrypto.CryptoKey }> {
  const { publicKey, privateKey } = await generateKeyFile()
  const request = await Pkcs10CertificateRequestGenerator.create(
    {
      name: `CN=${commonName}, O=Somebody`,
      keys: { publicKey, privateKey },
      signingAlgorithm: algorithm,
      extensions: [new SubjectAlternativeNameExtension([{ type: 'dns', value: 'gateway.example' }])],
    },
    webcrypto,
  )
  return { csr: request.toString('pem'), publicKey }
}

describe('a test authority', () => {
  it.each<KeyType>(['P-256', 'P-384', 'RSA-2048'])('signs a chain that verifies (%s)', async (keyType) => {
    const root = await TestAuthority.createRoot({ commonName: 'root', keyType })
    const intermediate = await root.createIntermediate({ commonName: 'intermediate', keyType })
    const leaf = await intermediate.issueLeaf({ ...(await requestFor('device-1')) })
    const [top, middle, bottom] = [root.certificate, intermediate.certificate, leaf.certificate].map(
      (pem) => new X509Certificate(pem),
    )
    if (top === undefined || middle === undefined || bottom === undefined) throw new Error('Three were made.')
    expect([top.checkIssued(top), top.verify(top.publicKey), top.ca]).toEqual([true, true, true])
    expect([middle.checkIssued(top), middle.verify(top.publicKey), middle.ca]).toEqual([true, true, true])
    expect([bottom.checkIssued(middle), bottom.verify(middle.publicKey), bottom.ca]).toEqual([
      true,
      true,
      false,
    ])
    expect(leaf.chain).toBe(leaf.certificate + intermediate.certificate)
    expect(intermediate.chain).toBe(intermediate.certificate + root.certificate)
  })

  it('says in its subject that it is for tests', async () => {
    const root = await TestAuthority.createRoot({ commonName: 'root 1' })
    expect(root.subject).toContain('leafkeeper TEST root 1')
    expect(root.subject).toContain('do not trust')
  })

  it('keeps the subject and the alternative names of a request, and gives usage and a positive serial number', async () => {
    const root = await TestAuthority.createRoot({ commonName: 'root' })
    const leaf = new ParsedCertificate((await root.issueLeaf(await requestFor('device-1'))).certificate)
    expect(leaf.subject).toBe('CN=device-1, O=Somebody')
    expect(leaf.getExtension(SubjectAlternativeNameExtension)?.names.toJSON()).toEqual([
      { type: 'dns', value: 'gateway.example' },
    ])
    expect(leaf.getExtension(ExtendedKeyUsageExtension)?.usages).toEqual(['1.3.6.1.5.5.7.3.2'])
    expect(leaf.getExtension(KeyUsagesExtension)?.usages).toBe(1)
    expect(leaf.getExtension(BasicConstraintsExtension)?.ca).toBe(false)
    expect(leaf.serialNumber).toMatch(/^[4-7][0-9a-f]{31}$/)
  })

  it('makes leaves that are wrong in one way, when asked to', async () => {
    const root = await TestAuthority.createRoot({ commonName: 'root' })
    const { csr } = await requestFor('device-1')
    const other = await generateKeyFile()
    const wrong = async (order: object): Promise<ParsedCertificate> =>
      new ParsedCertificate((await root.issueLeaf({ csr, ...order })).certificate)
    expect((await wrong({ commonName: 'device-2' })).subject).toBe('CN=device-2, O=Somebody')
    const exported = Buffer.from(await webcrypto.subtle.exportKey('spki', other.publicKey))
    const { rawData } = (await wrong({ publicKey: other.publicKey })).publicKey
    expect(Buffer.from(rawData).equals(exported)).toBe(true)
    expect((await wrong({ extendedKeyUsage: [] })).getExtension(ExtendedKeyUsageExtension)).toBeNull()
    const notAfter = new Date(2021, 0, 1)
    expect((await wrong({ notBefore: new Date(2020, 0, 1), notAfter })).notAfter).toEqual(notAfter)
    expect(
      (await wrong({ alternativeNames: [] })).getExtension(SubjectAlternativeNameExtension)?.names.items,
    ).toEqual([])
  })

  it('refuses a request that is not signed by its own key, and an order without a key or a name', async () => {
    const root = await TestAuthority.createRoot({ commonName: 'root' })
    const { csr, publicKey } = await requestFor('device-1')
    const der = Buffer.from(csr.replace(/-----[^-]+-----|\s/g, ''), 'base64')
    // The last byte belongs to the signature.
    der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1)
    const forged = `-----BEGIN CERTIFICATE REQUEST-----\n${der.toString('base64')}\n-----END CERTIFICATE REQUEST-----`
    await expect(root.issueLeaf({ csr: forged })).rejects.toThrow('does not prove possession')
    await expect(root.issueLeaf({ publicKey })).rejects.toThrow('subject')
    await expect(root.issueLeaf({ commonName: 'device-1' })).rejects.toThrow('public key')
  })
})

describe('thumbprints', () => {
  it('are SHA-256, in upper case and without separators', async () => {
    const { certificate } = await TestAuthority.createRoot({ commonName: 'root' })
    expect(thumbprint256(certificate)).toMatch(/^[0-9A-F]{64}$/)
    expect(normalizeThumbprint('aa:BB cc')).toBe('AABBCC')
  })
})
