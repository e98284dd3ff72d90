import type { X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { isValidAt } from './certificate.ts'

/** The certificates that a peer has shown in its handshake, as they came: nothing in them has been checked. */
export class PresentedChain {
  readonly leaf: X509Certificate | undefined
  #above: readonly X509Certificate[] | undefined

  constructor(leaf: X509Certificate | undefined) {
    this.leaf = leaf
  }

  static of(socket: TLSSocket): PresentedChain {
    return new PresentedChain(socket.getPeerX509Certificate())
  }

  /** Everything after the leaf. Read on first use: a check by thumbprint never needs it. */
  get above(): readonly X509Certificate[] {
    this.#above ??= readAbove(this.leaf)
    return this.#above
  }

  /**
   * Walks from the leaf towards the root over verified signatures. At each certificate `authorityOf` may name an
   * authority that the verifier knows by itself (also one that the peer left out); the first one named, which is
   * the nearest to the leaf, wins.
   *
   * The walk ends without a result where an issuer is missing, expired or no authority, or a signature is wrong.
   */
  findAuthority<T>(authorityOf: (subject: X509Certificate) => T | undefined, now: number): T | undefined {
    const left = new Set(this.above)
    let subject = this.leaf
    while (subject !== undefined && isValidAt(subject, now)) {
      const found = authorityOf(subject)
      if (found !== undefined) return found
      const issuer: X509Certificate | undefined = [...left].find((candidate) => hasSigned(candidate, subject))
      if (issuer !== undefined) left.delete(issuer)
      subject = issuer
    }
    return undefined
  }
}

/** Whether an authority's certificate has really signed another: names, identifiers and the signature itself. */
export function hasSigned(authority: X509Certificate, subject: X509Certificate | undefined): boolean {
  return (
    subject !== undefined &&
    authority.ca &&
    subject.checkIssued(authority) &&
    subject.verify(authority.publicKey)
  )
}

function readAbove(leaf: X509Certificate | undefined): readonly X509Certificate[] {
  const above: X509Certificate[] = []
  const seen = new Set<string>()
  let next = leaf?.issuerCertificate
  while (next !== undefined && !seen.has(next.fingerprint256)) {
    seen.add(next.fingerprint256)
    above.push(next)
    next = next.issuerCertificate
  }
  return above
}
