import type { Pem, Thumbprint } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import { toPem } from '../hsm/pem.ts'
import { inOrder } from './chain-order.ts'
import { checkUsage } from './check-usage.ts'
import { parseChain } from './parse-chain.ts'
import { commonNameOf, parseCertificate, thumbprintOf } from './read-certificate.ts'

/** A device's clock and an issuer's differ by this much without anything being wrong, in milliseconds. */
const usualClockSkewMs = 5 * 60_000

/** What an issuer answered, and what it was asked for. */
export interface IssuedChain {
  /** PEM, leaf first; or a certs-only PKCS#7 message. */
  readonly chain: string
  /** DER of the SubjectPublicKeyInfo of the key in the request. */
  readonly publicKey: Uint8Array
  /** The active certificate's: it must stay. */
  readonly commonName: string
  /** Milliseconds since 1970. */
  readonly now: number
  /** How far in the future, in milliseconds, a certificate may begin to be valid; 5 minutes by default. */
  readonly clockSkewMs?: number
  /** Certificates that this device has already: the answer must be another one. */
  readonly thumbprintsInUse?: readonly Thumbprint[]
}

/**
 * Checks what an issuer sent before anything is stored. It is pure, and it only says whether the certificate is the
 * one that was asked for: whether the cloud trusts its issuer, the cloud decides.
 *
 * @returns The chain as PEM, leaf first, without a root at its end: servers have their own.
 * @throws LeafkeeperError `CERT_UNREADABLE`, `CERT_TOO_LARGE`, `CERT_NOT_NEW`, `CERT_KEY_MISMATCH`,
 * `CERT_COMMON_NAME_CHANGED`, `CERT_NOT_YET_VALID`, `CERT_EXPIRED`, `CERT_USAGE`, `CERT_CHAIN_BROKEN`
 */
export function checkIssuedChain(issued: IssuedChain): Pem {
  const parsed = parseChain(issued.chain)
  checkNew(parsed.certificates, issued)
  const chain = inOrder(parsed, issued.publicKey)
  // Once more as they will be stored: bytes behind a certificate must not make it look like another one.
  checkNew(chain, issued)
  checkCommonName(chain[0], issued)
  for (const [index, der] of chain.entries()) checkValidity(der, index, issued)
  checkUsage(chain[0])
  return toPem(chain)
}

function checkNew(certificates: readonly Buffer[], { thumbprintsInUse = [] }: IssuedChain): void {
  const known = certificates.map(thumbprintOf).find((thumbprint) => thumbprintsInUse.includes(thumbprint))
  if (known === undefined) return
  throw new LeafkeeperError('CERT_NOT_NEW', {
    message: `The issuer returned the certificate ${known}, which this device has already.`,
  })
}

function checkCommonName(leaf: Buffer, { commonName }: IssuedChain): void {
  const found = commonNameOf(parseCertificate(leaf))
  if (found === commonName) return
  throw new LeafkeeperError('CERT_COMMON_NAME_CHANGED', {
    message: `The certificate's common name is ${found === undefined ? 'missing or there twice' : JSON.stringify(found)}; expected ${JSON.stringify(commonName)}.`,
  })
}

function checkValidity(
  der: Buffer,
  index: number,
  { now, clockSkewMs = usualClockSkewMs }: IssuedChain,
): void {
  const { notBefore, notAfter, subject } = parseCertificate(der)
  const which = index === 0 ? 'The certificate' : `The issuer's certificate ${JSON.stringify(subject)}`
  const clock = `it is ${new Date(now).toISOString()} on this device`
  if (notBefore.getTime() > now + clockSkewMs) {
    throw new LeafkeeperError('CERT_NOT_YET_VALID', {
      message: `${which} is valid from ${notBefore.toISOString()}; ${clock}.`,
    })
  }
  if (notAfter.getTime() <= now) {
    throw new LeafkeeperError('CERT_EXPIRED', {
      message: `${which} was valid until ${notAfter.toISOString()}; ${clock}.`,
    })
  }
}
