import type { X509Certificate } from 'node:crypto'
import { LeafkeeperError } from '../errors.ts'
import { type Chain, isFor, isIssuedBy, toCertificate } from './chain-order.ts'

/** Where a chain is made from; all certificates as DER. */
export interface ChainSources {
  /** DER of the SubjectPublicKeyInfo of the leaf. */
  readonly publicKey: Uint8Array
  /** What came as the answer to a request: the leaf, and maybe others. */
  readonly issued: readonly Buffer[]
  /** What the authority publishes about itself, in any order, with certificates of no concern here among them. */
  readonly published: readonly Buffer[]
  /** Where a chain has to end. Default: anything that was published. */
  readonly anchors?: readonly Buffer[] | undefined
}

/**
 * Makes the chain of the leaf for a key, up to an authority that is trusted. A root at the end is left out, as a TLS
 * peer has its own (RFC 8446, 4.4.2). An authority that changes its root publishes several ways to it (RFC 4210, 4.4):
 * the shortest one that ends at a trusted root is taken.
 *
 * @throws LeafkeeperError `CERT_KEY_MISMATCH` where there is no leaf for the key, `CERT_CHAIN_BROKEN` where no way leads
 * to an authority that is trusted, `CERT_UNREADABLE`
 */
export function chainByPath({ publicKey, issued, published, anchors }: ChainSources): Chain {
  const received = issued.map(toCertificate)
  const leaf = received.find((certificate) => isFor(certificate, publicKey))
  if (leaf === undefined)
    throw new LeafkeeperError('CERT_KEY_MISMATCH', {
      message: 'The certificate is for another public key than the one in the request.',
    })
  const trusted = (anchors ?? published).map(toCertificate)
  const others = [...published.map(toCertificate), ...received.filter((certificate) => certificate !== leaf)]
  const above = shortest(leaf, trusted, others)
  if (above === undefined)
    throw new LeafkeeperError('CERT_CHAIN_BROKEN', {
      message: `No way leads from the certificate, issued by ${named(leaf.issuer)}, to an authority that is trusted: ${list(trusted)}.`,
    })
  return [leaf.raw, ...above.map(({ raw }) => raw)]
}

/** Breadth first, so that a ring of authorities that have signed each other comes to an end. */
function shortest(
  leaf: X509Certificate,
  trusted: readonly X509Certificate[],
  others: readonly X509Certificate[],
): readonly X509Certificate[] | undefined {
  const unseen = new Map([...others, ...trusted].map((each) => [each.fingerprint256, each]))
  const anchors = new Set(trusted.map(({ fingerprint256 }) => fingerprint256))
  let ways: (readonly X509Certificate[])[] = [[]]
  let withoutRoot: readonly X509Certificate[] | undefined
  while (ways.length > 0) {
    const longer: (readonly X509Certificate[])[] = []
    for (const way of ways) {
      const below = way.at(-1) ?? leaf
      const issuers = [...unseen.values()].filter((other) => other.ca && isIssuedBy(below, other))
      const isEnd = ({ fingerprint256 }: X509Certificate): boolean => anchors.has(fingerprint256)
      if (issuers.some((issuer) => isEnd(issuer) && isIssuedBy(issuer, issuer))) return way
      for (const issuer of issuers) {
        unseen.delete(issuer.fingerprint256)
        longer.push([...way, issuer])
        if (isEnd(issuer)) withoutRoot = longer.at(-1)
      }
    }
    ways = longer
  }
  return withoutRoot
}

function list(certificates: readonly X509Certificate[]): string {
  return certificates.map(({ subject }) => named(subject)).join(', ')
}

function named(name: string): string {
  return JSON.stringify(name.replaceAll('\n', ', '))
}
