import { isTyped, type EnrollmentGroup } from '../enrollment.ts'
import type { CertificateStore } from '../../certificates/certificate-store.ts'
import { readAnyCertificate } from '../../certificates/read-certificate.ts'

/**
 * Adds the authorities of a group as verified ones, under their thumbprints. For the typed API, whose callers hold
 * the keys anyway; the REST API asks for a proof of possession.
 */
export function vouchFor({ attestation }: EnrollmentGroup, certificates: CertificateStore): void {
  if (isTyped(attestation)) return
  for (const pem of [attestation.primary, attestation.secondary]) {
    const authority = readable(pem)
    if (authority?.ca !== true || certificates.anchors(authority)) continue
    certificates.vouchFor(authority)
  }
}

/** What cannot be read is for the entry itself to refuse. */
function readable(pem: string | undefined): ReturnType<typeof readAnyCertificate> | undefined {
  try {
    return pem === undefined ? undefined : readAnyCertificate(pem, 'An authority')
  } catch {
    return undefined
  }
}
