import { LeafkeeperError } from '../errors.ts'
import { certificatesInPem } from '../hsm/pem.ts'
import { parseCertificate, unreadable } from './read-certificate.ts'
import * as x509 from './x509.ts'

/** More is no certificate chain: the largest leaf with a few intermediates has some 10 KiB. */
const largestBytes = 64 * 1024
const mostCertificates = 10

/** Certificates as an issuer sent them. */
export interface ParsedChain {
  readonly certificates: readonly Buffer[]
  /** Whether the format keeps an order: PEM does, the set of a PKCS#7 message does not. */
  readonly ordered: boolean
}

/**
 * Reads what an issuer sent: PEM certificates, or a certs-only PKCS#7 message (RFC 5652, 5; as PEM, or as the bare
 * base64 of RFC 7030, 4.1.3).
 *
 * @throws LeafkeeperError `CERT_UNREADABLE`, `CERT_TOO_LARGE`
 */
export function parseChain(text: string): ParsedChain {
  const size = Buffer.byteLength(text)
  if (size > largestBytes) throw tooLarge(`${size} bytes came, and at most ${largestBytes} are read`)
  const pem = certificatesInPem(text)
  checkEveryBlockRead(text, pem.length)
  const certificates = pem.length > 0 ? pem : certificatesInPkcs7(text)
  if (certificates.length > mostCertificates) {
    throw tooLarge(`${certificates.length} certificates came, and at most ${mostCertificates} are read`)
  }
  for (const der of certificates) parseCertificate(der)
  return { certificates, ordered: pem.length > 0 }
}

/** A block that is cut off or damaged must not pass for one that was never sent. */
function checkEveryBlockRead(text: string, read: number): void {
  const begun = [...text.matchAll(/-----BEGIN (?!PKCS7-|CMS-)/g)].length
  if (read > 0 && begun > read)
    throw unreadable(`it begins ${begun} PEM blocks, of which ${read} are whole certificates`)
}

function certificatesInPkcs7(text: string): Buffer[] {
  const body = text.replace(/-----(BEGIN|END) (PKCS7|CMS)-----/g, '').trim()
  if (body === '' || !/^[A-Za-z0-9+/=\s]+$/.test(body)) {
    throw unreadable('it is neither PEM nor a certs-only PKCS#7 message')
  }
  const found: x509.X509Certificate[] = []
  try {
    found.push(...new x509.X509Certificates(Uint8Array.from(Buffer.from(body, 'base64'))))
  } catch (cause) {
    throw unreadable('it is neither PEM nor a certs-only PKCS#7 message', cause)
  }
  if (found.length === 0) throw unreadable('the PKCS#7 message has no certificate')
  return found.map((certificate) => Buffer.from(certificate.rawData))
}

function tooLarge(why: string): LeafkeeperError {
  return new LeafkeeperError('CERT_TOO_LARGE', { message: `The issuer's answer is too large: ${why}.` })
}
