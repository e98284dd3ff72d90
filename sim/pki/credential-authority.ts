import { randomUUID } from 'node:crypto'
import { readCertificate } from './certificate.ts'
import { TestAuthority } from './test-authority.ts'
import { Pkcs10CertificateRequest } from './x509.ts'

/** A request that an authority does not sign. */
export class RequestRefused extends Error {
  override readonly name = 'RequestRefused'
  /** As services name it: `FailedToDecodeCsr`, `SubjectMismatch`, `InvalidCsrSignature`. */
  readonly credentialError: string

  constructor(credentialError: string, message: string, cause?: unknown) {
    super(message, { cause })
    this.credentialError = credentialError
  }
}

/** What an authority has signed, each certificate as PEM: the leaf, who has signed it, and the root. */
export interface IssuedCredential {
  readonly leaf: string
  readonly authorities: readonly string[]
}

/**
 * The authority with which a service itself issues certificates to its devices: a root with one intermediate, made
 * when they are first needed.
 */
export class CredentialAuthority {
  readonly #name: string
  #issuer: Promise<TestAuthority> | undefined

  /** @param name - of the service, for the subject of the authorities */
  constructor(name: string) {
    this.#name = name
  }

  /**
   * Signs a request, for 30 days from `now`.
   *
   * @param csr - PKCS#10: Base64 of the DER, without PEM armour
   * @throws RequestRefused when it cannot be read, proves no possession, or names another device
   */
  async issue(csr: string, deviceId: string, now: number): Promise<IssuedCredential> {
    const request = readRequest(csr)
    if (!(await request.verify().catch(() => false))) {
      throw new RequestRefused('InvalidCsrSignature', 'The request is not signed with the key it holds.')
    }
    const names = request.subjectName.getField('CN')
    if (names.length !== 1 || names[0] !== deviceId) {
      throw new RequestRefused(
        'SubjectMismatch',
        `Expected a request for "${deviceId}", got one for "${names.join(', ')}".`,
      )
    }
    this.#issuer ??= this.#create()
    const issuer = await this.#issuer
    const leaf = await issuer.issueLeaf({
      csr: request.toString('pem'),
      notBefore: new Date(now - 24 * 60 * 60 * 1000),
      notAfter: new Date(now + 30 * 24 * 60 * 60 * 1000),
    })
    return { leaf: leaf.certificate, authorities: splitPem(issuer.chain) }
  }

  async #create(): Promise<TestAuthority> {
    const mark = randomUUID().slice(0, 8)
    const root = await TestAuthority.createRoot({ commonName: `${this.#name} credentials root ${mark}` })
    return root.createIntermediate({ commonName: `${this.#name} credentials policy ${mark}` })
  }
}

/** Base64 of the DER of a certificate in PEM. */
export function derOf(pem: string): string {
  return readCertificate(pem, 'An issued certificate').raw.toString('base64')
}

function readRequest(csr: string): Pkcs10CertificateRequest {
  try {
    return new Pkcs10CertificateRequest(Buffer.from(csr, 'base64'))
  } catch (cause) {
    throw new RequestRefused('FailedToDecodeCsr', 'The request is no PKCS#10 that can be read.', cause)
  }
}

function splitPem(chain: string): readonly string[] {
  return chain.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----\n?/g) ?? []
}
