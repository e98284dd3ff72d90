import type { X509Certificate } from 'node:crypto'
import { isValidAt, readCertificate } from './certificate.ts'
import { hasSigned, type PresentedChain } from './presented-chain.ts'
import { thumbprint256 } from './thumbprint.ts'

/**
 * The authorities that a hub trusts for devices which authenticate by authority.
 *
 * @example
 * ```ts
 * cloud.hub('hub-a').trustedAuthorities.add(root.certificate)
 * ```
 */
export class TrustedAuthorities {
  readonly #authorities = new Map<string, X509Certificate>()

  /** @returns its thumbprint @throws Error when it is no certificate, or none of an authority */
  add(pem: string): string {
    const certificate = readCertificate(pem, 'A trusted authority')
    if (!certificate.ca) {
      throw new Error(
        `A trusted authority: expected the certificate of an authority, got "${certificate.subject}".`,
      )
    }
    const thumbprint = thumbprint256(certificate)
    this.#authorities.set(thumbprint, certificate)
    return thumbprint
  }

  /** Devices below it are refused from their next connection on. */
  delete(pem: string): boolean {
    return this.#authorities.delete(thumbprint256(readCertificate(pem, 'A trusted authority')))
  }

  /** All of them, as PEM. */
  list(): readonly string[] {
    return [...this.#authorities.values()].map((authority) => authority.toString())
  }

  /** Whether a presented chain leads, over verified signatures, to one of these. */
  reach(presented: PresentedChain, now: number): boolean {
    const authorities = [...this.#authorities.values()].filter((authority) => isValidAt(authority, now))
    const found = presented.findAuthority(
      (subject) => authorities.find((authority) => hasSigned(authority, subject)),
      now,
    )
    return found !== undefined
  }
}
