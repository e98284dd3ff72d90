import type { X509Certificate } from 'node:crypto'
import type { CertificateStore } from '../certificates/certificate-store.ts'
import { readCertificate } from '../pki/certificate.ts'
import { hasSigned, type PresentedChain } from '../pki/presented-chain.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'

/**
 * The authorities that a hub trusts for devices which authenticate by authority: those of its certificates that are
 * verified. What is added here is vouched for by the caller, and stands among the hub's certificates too.
 *
 * @example
 * ```ts
 * cloud.hub('hub-a').trustedAuthorities.add(root.certificate)
 * ```
 */
export class TrustedAuthorities {
  readonly #certificates: CertificateStore

  constructor(certificates: CertificateStore) {
    this.#certificates = certificates
  }

  /** @returns its thumbprint @throws Error when it is no certificate, or none of an authority */
  add(pem: string): string {
    const certificate = read(pem)
    if (!certificate.ca) {
      throw new Error(
        `A trusted authority: expected the certificate of an authority, got "${certificate.subject}".`,
      )
    }
    this.#certificates.vouchFor(certificate)
    return thumbprint256(certificate)
  }

  /** Devices below it are refused from their next connection on. @returns whether it was there */
  delete(pem: string): boolean {
    const named = this.#certificates.named(read(pem))
    if (named !== undefined) this.#certificates.delete(named.name, named.etag)
    return named !== undefined
  }

  /** All of them that are valid now, as PEM. */
  list(): readonly string[] {
    return this.#certificates.allVerified().map((authority) => authority.toString())
  }

  /** Whether a presented chain leads, over verified signatures, to one of these. */
  reach(presented: PresentedChain, now: number): boolean {
    const authorities = this.#certificates.allVerified()
    const found = presented.findAuthority(
      (subject) => authorities.find((authority) => hasSigned(authority, subject)),
      now,
    )
    return found !== undefined
  }
}

function read(pem: string): X509Certificate {
  return readCertificate(pem, 'A trusted authority')
}
