import type { Pem } from '../brands.ts'
import type { HsmSigner, KeyType } from '../hsm/key-store.ts'
import { certificatesInPem } from '../hsm/pem.ts'
import { parseCertificate, unreadable } from './read-certificate.ts'
import * as x509 from './x509.ts'

/** What an issuer wants of a request beside names and key. */
export interface RequestAdditions {
  /** By which a request is tied to a connection (RFC 2985, 5.4.1; RFC 7030, 3.5). */
  readonly challengePassword?: string
  /** DER of each `Extension`. The alternative names of the active certificate stay as they are. */
  readonly extensions?: readonly Uint8Array[]
}

/** What a request asks for. */
export interface CertificateRequest {
  /** The key to certify; it also signs the request, inside the HSM. */
  readonly signer: HsmSigner
  /** The active certificate (PEM, leaf first), whose subject and alternative names are asked for again; or a name. */
  readonly subject: string | { readonly commonName: string }
  readonly additions?: RequestAdditions
}

/**
 * Makes a PKCS#10 request (RFC 2986) for a key inside the HSM. Subject and subject alternative names are those of the
 * active certificate, byte for byte, since the cloud knows the device by them.
 *
 * @example
 * ```ts
 * const csr = await createCertificateRequest({ signer: await keys.signer(keyId), subject: activeChain })
 * ```
 * @throws LeafkeeperError `CERT_UNREADABLE` for the active certificate, and what the signer throws
 */
export async function createCertificateRequest({
  signer,
  subject,
  additions: { challengePassword, extensions: wanted = [] } = {},
}: CertificateRequest): Promise<Pem> {
  const { name, extensions } = identityOf(subject)
  const { algorithm, hash } = algorithms[signer.keyType]
  const request = await x509.Pkcs10CertificateRequestGenerator.create(
    {
      name,
      extensions: withoutRepetition([
        ...extensions,
        ...wanted.map((der) => new x509.Extension(Uint8Array.from(der))),
      ]),
      attributes:
        challengePassword === undefined ? [] : [new x509.ChallengePasswordAttribute(challengePassword)],
      signingAlgorithm: { ...algorithm, hash },
      keys: { privateKey: { algorithm }, publicKey: { algorithm } },
    },
    // The generator needs no more of Web Crypto than these two; both answer for the key inside the HSM.
    {
      subtle: {
        exportKey: () => Promise.resolve(Uint8Array.from(signer.publicKey).buffer),
        sign: async (_algorithm: unknown, _key: unknown, data: ArrayBuffer) =>
          Uint8Array.from(await signer.sign(new Uint8Array(data), hash)).buffer,
      },
    },
  )
  return `${request.toString('pem')}\n` as Pem
}

/**
 * DER of the SubjectPublicKeyInfo in a request.
 *
 * @param csr - PKCS#10 as PEM
 */
export function publicKeyOfRequest(csr: string): Uint8Array {
  return new Uint8Array(new x509.Pkcs10CertificateRequest(csr).publicKey.rawData)
}

/**
 * A request as Azure's services want it: Base64 of the DER, without armour or breaks.
 *
 * @param csr - PKCS#10 as PEM
 */
export function base64OfRequest(csr: string): string {
  return csr.replace(/-----[^-]+-----|\s/g, '')
}

interface Identity {
  readonly name: x509.Name
  readonly extensions: x509.Extension[]
}

function identityOf(subject: CertificateRequest['subject']): Identity {
  if (typeof subject !== 'string') {
    return { name: new x509.Name([{ CN: [{ utf8String: subject.commonName }] }]), extensions: [] }
  }
  const [der] = certificatesInPem(subject)
  if (der === undefined) throw unreadable('the active certificate is not PEM')
  const active = parseCertificate(der)
  return { name: active.subjectName, extensions: active.getExtensions(subjectAlternativeName) }
}

/** The first of each type. */
function withoutRepetition(extensions: readonly x509.Extension[]): x509.Extension[] {
  return [...new Map([...extensions].reverse().map((one) => [one.type, one])).values()].reverse()
}

/** RFC 5280, 4.2.1.6. */
const subjectAlternativeName = '2.5.29.17'

interface Signing {
  readonly algorithm: { readonly name: string; readonly namedCurve?: string }
  readonly hash: 'SHA-256' | 'SHA-384'
}

const rsa: Signing = { algorithm: { name: 'RSASSA-PKCS1-v1_5' }, hash: 'SHA-256' }

const algorithms: Readonly<Record<KeyType, Signing>> = {
  'EC-P256': { algorithm: { name: 'ECDSA', namedCurve: 'P-256' }, hash: 'SHA-256' },
  'EC-P384': { algorithm: { name: 'ECDSA', namedCurve: 'P-384' }, hash: 'SHA-384' },
  'RSA-2048': rsa,
  'RSA-3072': rsa,
}
