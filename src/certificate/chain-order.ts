import { X509Certificate } from 'node:crypto'
import { LeafkeeperError } from '../errors.ts'
import type { ParsedChain } from './parse-chain.ts'
import { unreadable } from './read-certificate.ts'

/** At least a leaf. */
export type Chain = readonly [Buffer, ...Buffer[]]

/**
 * Makes a chain of certificates: the leaf for `publicKey` first, each signed by the next. An order that was given
 * must be right; a set is put in order. A root at the end is left out.
 *
 * @param publicKey DER of the SubjectPublicKeyInfo.
 * @throws LeafkeeperError `CERT_UNREADABLE`, `CERT_KEY_MISMATCH`, `CERT_CHAIN_BROKEN`
 */
export function inOrder({ certificates, ordered }: ParsedChain, publicKey: Uint8Array): Chain {
  const all = certificates.map(toCertificate)
  const leaf = ordered ? all[0] : all.find((certificate) => isFor(certificate, publicKey))
  if (leaf === undefined || !isFor(leaf, publicKey)) {
    throw new LeafkeeperError('CERT_KEY_MISMATCH', {
      message: 'The certificate is for another public key than the one in the request.',
    })
  }
  const others = all.filter((certificate) => certificate !== leaf)
  const issuers = ordered ? others : sorted(leaf, others)
  let below = leaf
  for (const issuer of issuers) {
    checkLink(below, issuer)
    below = issuer
  }
  // RFC 8446, 4.4.2: a self-signed certificate at the end may be omitted.
  const kept = issuers.filter((issuer, index) => index !== issuers.length - 1 || !isIssuedBy(issuer, issuer))
  return [leaf.raw, ...kept.map(({ raw }) => raw)]
}

function sorted(leaf: X509Certificate, others: readonly X509Certificate[]): X509Certificate[] {
  const rest = new Set(others)
  const issuers: X509Certificate[] = []
  let below = leaf
  while (rest.size > 0) {
    const issuer = [...rest].find((other) => isIssuedBy(below, other))
    if (issuer === undefined) throw broken(`nothing in the message has signed ${nameOf(below)}`)
    rest.delete(issuer)
    issuers.push(issuer)
    below = issuer
  }
  return issuers
}

function checkLink(below: X509Certificate, issuer: X509Certificate): void {
  if (!isIssuedBy(below, issuer)) throw broken(`${nameOf(below)} was not signed by ${nameOf(issuer)}`)
  if (!issuer.ca) throw broken(`${nameOf(issuer)} has signed ${nameOf(below)} but is no authority`)
}

/** Whether a certificate names an issuer and bears its signature. */
export function isIssuedBy(below: X509Certificate, issuer: X509Certificate): boolean {
  return below.checkIssued(issuer) && below.verify(issuer.publicKey)
}

/** Whether a certificate is for a key: DER of its SubjectPublicKeyInfo. */
export function isFor({ publicKey: key }: X509Certificate, publicKey: Uint8Array): boolean {
  return key.export({ type: 'spki', format: 'der' }).equals(publicKey)
}

/** A certificate as OpenSSL reads it. @throws LeafkeeperError `CERT_UNREADABLE` */
export function toCertificate(der: Buffer): X509Certificate {
  try {
    const certificate = new X509Certificate(der)
    // Read now, so that a key OpenSSL does not know is found here.
    if (certificate.publicKey.type === 'public') return certificate
  } catch (cause) {
    throw unreadable('OpenSSL does not accept it', cause)
  }
  throw unreadable('it has no public key')
}

function nameOf({ subject }: X509Certificate): string {
  return JSON.stringify(subject.replaceAll('\n', ', '))
}

function broken(why: string): LeafkeeperError {
  return new LeafkeeperError('CERT_CHAIN_BROKEN', { message: `The chain is broken: ${why}.` })
}
