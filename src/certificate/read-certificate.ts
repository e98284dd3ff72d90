import { createHash } from 'node:crypto'
import type { DeviceId, Thumbprint } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import { certificatesInPem } from '../hsm/pem.ts'
import * as x509 from './x509.ts'

/** What a certificate says. */
export interface CertificateInfo {
  /** `undefined` unless the subject has exactly one common name. */
  readonly commonName: DeviceId | undefined
  /** RFC 4514 text. */
  readonly subject: string
  /** RFC 4514 text. */
  readonly issuer: string
  /** Lower-case hexadecimal. */
  readonly serial: string
  readonly notBefore: Date
  readonly notAfter: Date
  readonly thumbprint: Thumbprint
  /** DER of the SubjectPublicKeyInfo (RFC 5280, 4.1.2.7). */
  readonly publicKey: Uint8Array
}

/**
 * Reads the first certificate of a PEM text: the leaf of a chain.
 *
 * @example
 * ```ts
 * readCertificate(chain).notAfter // 2027-05-01T00:00:00.000Z
 * ```
 * @throws LeafkeeperError `CERT_UNREADABLE`
 */
export function readCertificate(pem: string): CertificateInfo {
  const [der] = certificatesInPem(pem)
  if (der === undefined) throw unreadable('it has no PEM certificate')
  const certificate = parseCertificate(der)
  return {
    commonName: commonNameOf(certificate) as DeviceId | undefined,
    subject: certificate.subject,
    issuer: certificate.issuer,
    serial: certificate.serialNumber.toLowerCase(),
    notBefore: certificate.notBefore,
    notAfter: certificate.notAfter,
    thumbprint: thumbprintOf(der),
    publicKey: new Uint8Array(certificate.publicKey.rawData),
  }
}

/**
 * Parses DER.
 *
 * @throws LeafkeeperError `CERT_UNREADABLE`
 */
export function parseCertificate(der: Uint8Array): x509.X509Certificate {
  try {
    return new x509.X509Certificate(Uint8Array.from(der))
  } catch (cause) {
    throw unreadable('it is not an X.509 certificate', cause)
  }
}

/** The thumbprint by which Azure knows a certificate, from its DER. */
export function thumbprintOf(der: Uint8Array): Thumbprint {
  return createHash('sha256').update(der).digest('hex').toUpperCase() as Thumbprint
}

/** The common name; `undefined` unless there is exactly one. */
export function commonNameOf(certificate: x509.X509Certificate): string | undefined {
  const names = certificate.subjectName.getField('CN')
  return names.length === 1 ? names[0] : undefined
}

/** @param why Follows "cannot be read:". */
export function unreadable(why: string, cause?: unknown): LeafkeeperError {
  return new LeafkeeperError('CERT_UNREADABLE', {
    message: `The certificate cannot be read: ${why}.`,
    ...(cause === undefined ? {} : { cause }),
  })
}
