import type { X509Certificate } from 'node:crypto'
import { thumbprint1, thumbprint256 } from '../../pki/thumbprint.ts'

/** What DPS tells about a certificate, which it never gives back itself. */
export interface CertificateInfo {
  readonly subjectName: string
  readonly sha1Thumbprint: string
  readonly sha256Thumbprint: string
  readonly issuerName: string
  readonly notBeforeUtc: string
  readonly notAfterUtc: string
  readonly serialNumber: string
  readonly version: number
}

/** Describes a certificate. */
export function certificateInfo(certificate: X509Certificate): CertificateInfo {
  return {
    subjectName: oneLine(certificate.subject),
    sha1Thumbprint: thumbprint1(certificate),
    sha256Thumbprint: thumbprint256(certificate),
    issuerName: oneLine(certificate.issuer),
    notBeforeUtc: new Date(certificate.validFrom).toISOString(),
    notAfterUtc: new Date(certificate.validTo).toISOString(),
    serialNumber: certificate.serialNumber,
    version: 3,
  }
}

function oneLine(name: string): string {
  return name.split('\n').join(', ')
}
