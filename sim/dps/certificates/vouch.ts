import { thumbprint1 } from '../../pki/thumbprint.ts'
import { isTyped, type EnrollmentGroup } from '../enrollment.ts'
import type { CertificateStore } from './certificate-store.ts'
import { readAnyCertificate } from './read-certificate.ts'

/**
 * Adds the authorities of a group as verified ones, under their thumbprints. For the typed API, whose callers hold
 * the keys anyway; the REST API asks for a proof of possession.
 */
export function vouchFor({ attestation }: EnrollmentGroup, certificates: CertificateStore): void {
  if (isTyped(attestation)) return
  for (const pem of [attestation.primary, attestation.secondary]) {
    const authority = readable(pem)
    if (authority?.ca !== true || certificates.anchors(authority)) continue
    const known = certificates.list().find(({ thumbprint }) => thumbprint === thumbprint1(authority))
    certificates.put(
      known?.name ?? `authority-${thumbprint1(authority).toLowerCase()}`,
      authority.toString(),
      true,
    )
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
