import { randomBytes, webcrypto } from 'node:crypto'
import type { Pem } from '../brands.ts'
import * as x509 from '../certificate/x509.ts'
import type { HsmSigner } from '../hsm/key-store.ts'

const validForMs = 3_600_000
const ecdsa = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }

/** A certificate and its key outside of any token, for the other end of a handshake. */
export interface LocalCredential {
  readonly cert: string
  readonly key: string
}

/**
 * A certificate for a key on the token, signed by that key itself: nobody trusts it but who is told to. Valid for an
 * hour.
 *
 * @throws what the signer throws
 */
export async function selfSigned(signer: HsmSigner, commonName: string): Promise<Pem> {
  const ec = signer.keyType.startsWith('EC')
  const algorithm = ec
    ? { name: 'ECDSA', namedCurve: signer.keyType.replace('EC-P', 'P-') }
    : { name: 'RSASSA-PKCS1-v1_5' }
  const hash = signer.keyType === 'EC-P384' ? 'SHA-384' : 'SHA-256'
  const certificate = await x509.X509CertificateGenerator.create(
    {
      ...fields(commonName),
      publicKey: new x509.PublicKey(Uint8Array.from(signer.publicKey)),
      signingKey: { algorithm, type: 'private', extractable: false, usages: ['sign'] },
      signingAlgorithm: { ...algorithm, hash },
      extensions: [new x509.ExtendedKeyUsageExtension([x509.ExtendedKeyUsage.clientAuth])],
    },
    // The generator signs with this and asks for nothing else.
    {
      subtle: {
        sign: async (_algorithm: unknown, _key: unknown, data: ArrayBuffer) =>
          Uint8Array.from(await signer.sign(new Uint8Array(data), hash)).buffer,
      },
    },
  )
  return `${certificate.toString('pem')}\n` as Pem
}

/** A server of the loopback address for one handshake. */
export async function localServer(): Promise<LocalCredential> {
  const keys = await webcrypto.subtle.generateKey(ecdsa, true, ['sign', 'verify'])
  const certificate = await x509.X509CertificateGenerator.createSelfSigned(
    {
      ...fields('localhost'),
      keys,
      signingAlgorithm: ecdsa,
      extensions: [new x509.SubjectAlternativeNameExtension([{ type: 'dns', value: 'localhost' }])],
    },
    webcrypto,
  )
  const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', keys.privateKey)).toString('base64')
  return {
    cert: certificate.toString('pem'),
    key: `-----BEGIN PRIVATE KEY-----\n${pkcs8}\n-----END PRIVATE KEY-----\n`,
  }
}

function fields(commonName: string): {
  serialNumber: string
  subject: string
  issuer: string
  name: string
  notBefore: Date
  notAfter: Date
} {
  const name = `CN=${commonName}`
  const now = Date.now()
  return {
    serialNumber: `01${randomBytes(8).toString('hex')}`,
    ...{ subject: name, issuer: name, name },
    notBefore: new Date(now - validForMs),
    notAfter: new Date(now + validForMs),
  }
}
