import { randomBytes, X509Certificate } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import { commonNameOf, isValidAt } from '../pki/certificate.ts'
import { hasSigned } from '../pki/presented-chain.ts'
import { thumbprint1, thumbprint256 } from '../pki/thumbprint.ts'
import { newEtag, requireMatch } from '../etag.ts'
import { readAnyCertificate } from './read-certificate.ts'

/** An authority that a service knows by name. It counts once it is verified. */
export interface NamedCertificate {
  readonly name: string
  /** DER in Base64. */
  readonly certificate: string
  readonly subject: string
  /** SHA-1, upper-case hex. */
  readonly thumbprint: string
  readonly expiry: string
  readonly isVerified: boolean
  readonly created: string
  readonly updated: string
  readonly etag: string
  /** What the common name of the verification certificate must be; replaced with each request for one. */
  readonly verificationCode?: string
}

/**
 * The certificates of authorities by name, with proof of possession: only whoever has the private key can sign a
 * certificate for the code that the service has made up.
 *
 * @example
 * ```ts
 * const { etag } = cloud.dps.certificates.put('root-1', root.certificate)
 * const { verificationCode } = cloud.dps.certificates.generateVerificationCode('root-1', etag)
 * ```
 */
export class CertificateStore {
  readonly #certificates = new Map<string, NamedCertificate>()
  readonly #now: () => number

  /** @param now - milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now
  }

  /**
   * Adds a certificate, or replaces it, after which it has to be verified again.
   *
   * @param text - PEM, or DER or PEM in Base64
   * @param isVerified - vouched for by whoever adds it
   * @throws ServiceError 400 for what is no authority, 409 when it is there under another name, 412
   */
  put(name: string, text: string, isVerified = false, ifMatch?: string): NamedCertificate {
    if (!/^[A-Za-z0-9\-._]{1,64}$/.test(name)) {
      throw new ServiceError(400, 400020, `"${name}" is no name: expected up to 64 letters, digits and -._`)
    }
    const before = this.get(name)
    if (ifMatch !== undefined) requireMatch(`the certificate "${name}"`, before, ifMatch)
    const certificate = readAnyCertificate(text, `The certificate "${name}"`)
    if (!certificate.ca) {
      throw new ServiceError(400, 400021, `"${certificate.subject}" is no certificate of an authority.`)
    }
    const thumbprint = thumbprint1(certificate)
    const other = this.named(certificate)
    if (other !== undefined && other.name !== before?.name) {
      throw new ServiceError(
        409,
        409020,
        `The certificate ${thumbprint} is there already, as "${other.name}".`,
      )
    }
    const at = this.#instant()
    return this.#keep({
      name: before?.name ?? name,
      certificate: certificate.raw.toString('base64'),
      subject: commonNameOf(certificate) ?? certificate.subject,
      thumbprint,
      expiry: new Date(certificate.validTo).toISOString(),
      isVerified,
      created: before?.created ?? at,
      updated: at,
      etag: newEtag(),
    })
  }

  /**
   * Adds an authority as a verified one, under its thumbprint unless it has a name already. For callers that hold its
   * key anyway; the REST API asks for a proof of possession.
   */
  vouchFor(authority: X509Certificate): NamedCertificate {
    const name = this.named(authority)?.name ?? `authority-${thumbprint1(authority).toLowerCase()}`
    return this.put(name, authority.toString(), true)
  }

  /** An authority under the name it has here, verified or not. */
  named(authority: X509Certificate): NamedCertificate | undefined {
    const thumbprint = thumbprint1(authority)
    return this.list().find((one) => one.thumbprint === thumbprint)
  }

  get(name: string): NamedCertificate | undefined {
    return this.#certificates.get(name.toLowerCase())
  }

  list(): readonly NamedCertificate[] {
    return [...this.#certificates.values()]
  }

  /** @throws ServiceError 404, 412 */
  delete(name: string, ifMatch: string): void {
    requireMatch(`the certificate "${name}"`, this.get(name), ifMatch)
    this.#certificates.delete(name.toLowerCase())
  }

  /** @throws ServiceError 404, 412 */
  generateVerificationCode(name: string, ifMatch: string): NamedCertificate {
    const before = this.#require(name, ifMatch)
    const verificationCode = randomBytes(24).toString('hex').toUpperCase()
    return this.#keep({ ...before, verificationCode, updated: this.#instant(), etag: newEtag() })
  }

  /**
   * Verifies an authority by a certificate that its key has signed for the verification code.
   *
   * @throws ServiceError 400 when it does not prove possession, 404, 412
   */
  verify(name: string, text: string, ifMatch: string): NamedCertificate {
    const { verificationCode, ...before } = this.#require(name, ifMatch)
    const proof = readAnyCertificate(text, 'The verification certificate')
    if (verificationCode === undefined || commonNameOf(proof) !== verificationCode) {
      throw new ServiceError(400, 400022, 'The common name is not the verification code that was last made.')
    }
    if (!hasSigned(parsed(before), proof)) {
      throw new ServiceError(400, 400023, `The certificate was not signed by the key of "${name}".`)
    }
    return this.#keep({ ...before, isVerified: true, updated: this.#instant(), etag: newEtag() })
  }

  /** A verified certificate, which is valid now. */
  verified(name: string): X509Certificate | undefined {
    const named = this.get(name)
    if (named?.isVerified !== true) return undefined
    const certificate = parsed(named)
    return isValidAt(certificate, this.#now()) ? certificate : undefined
  }

  /** All that are verified, and valid now. */
  allVerified(): readonly X509Certificate[] {
    return this.list().flatMap(({ name }) => this.verified(name) ?? [])
  }

  /** Whether an authority is one of the verified ones, or was signed by one of them. */
  anchors(authority: X509Certificate): boolean {
    const thumbprint = thumbprint256(authority)
    return this.allVerified().some(
      (known) => thumbprint256(known) === thumbprint || hasSigned(known, authority),
    )
  }

  snapshot(): readonly NamedCertificate[] {
    return this.list()
  }

  restore(certificates: readonly NamedCertificate[]): void {
    this.#certificates.clear()
    for (const certificate of certificates) this.#keep(certificate)
  }

  #require(name: string, ifMatch: string): NamedCertificate {
    const named = this.get(name)
    requireMatch(`the certificate "${name}"`, named, ifMatch)
    if (named === undefined) throw new ServiceError(404, 404201, `Not found: the certificate "${name}".`)
    return named
  }

  #keep(certificate: NamedCertificate): NamedCertificate {
    this.#certificates.set(certificate.name.toLowerCase(), certificate)
    return certificate
  }

  #instant(): string {
    return new Date(this.#now()).toISOString()
  }
}

/** Each device that registers asks for all of them, and a certificate is only ever replaced. */
const parsedBefore = new WeakMap<object, X509Certificate>()

function parsed(named: Pick<NamedCertificate, 'certificate'>): X509Certificate {
  const known = parsedBefore.get(named) ?? new X509Certificate(Buffer.from(named.certificate, 'base64'))
  parsedBefore.set(named, known)
  return known
}
