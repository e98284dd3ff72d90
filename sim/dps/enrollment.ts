import type { X509Certificate } from 'node:crypto'
import { ServiceError } from '../errors.ts'

/** Certificates by which an entry attests; one of the two is enough, either one matches. */
export interface X509Attestation {
  /** PEM. */
  readonly primary?: string
  /** PEM. */
  readonly secondary?: string
}

/** What happens when a device registers again. Default: migrate. */
export interface ReprovisionPolicy {
  /** `false`: the device stays at its first hub, whatever else changes. */
  readonly updateHubAssignment: boolean
  /** `false`: the twin starts anew when the hub changes. */
  readonly migrateDeviceData: boolean
}

/** What individual enrollments and groups have in common. */
interface EntryOptions {
  readonly attestation: X509Attestation
  /** Default `enabled`. */
  readonly provisioningStatus?: 'enabled' | 'disabled'
  /** Static allocation; without it devices are spread over the linked hubs by a stable hash. */
  readonly iotHubHostName?: string
  readonly reprovisionPolicy?: ReprovisionPolicy
}

/** An entry for one device. */
export interface IndividualEnrollment extends EntryOptions {
  readonly registrationId: string
  /** Default: the registration id. */
  readonly deviceId?: string
}

/** An entry for all devices below an authority. */
export interface EnrollmentGroup extends EntryOptions {
  readonly enrollmentGroupId: string
}

/** An entry as it is kept. */
export type Stored<Kind> = Kind & {
  readonly provisioningStatus: 'enabled' | 'disabled'
  readonly reprovisionPolicy: ReprovisionPolicy
  readonly etag: string
  readonly createdDateTimeUtc: string
  readonly lastUpdatedDateTimeUtc: string
}

/** An entry with its certificates parsed. */
export interface Entry<Kind> {
  readonly stored: Stored<Kind>
  readonly certificates: readonly X509Certificate[]
  /** Those of the certificates, SHA-256. */
  readonly thumbprints: ReadonlySet<string>
}

/** Reads the certificates of an entry. @throws ServiceError 400 when there is none or one cannot be read */
export function attestationCertificates(
  id: string,
  attestation: X509Attestation,
  read: (pem: string, what: string) => X509Certificate,
): readonly X509Certificate[] {
  const certificates: X509Certificate[] = []
  for (const slot of ['primary', 'secondary'] as const) {
    const pem = attestation[slot]
    if (pem === undefined) continue
    try {
      certificates.push(read(pem, `The ${slot} certificate of "${id}"`))
    } catch (error) {
      throw new ServiceError(400, 400209, error instanceof Error ? error.message : String(error))
    }
  }
  if (certificates.length === 0) {
    throw new ServiceError(
      400,
      400209,
      `The entry "${id}" has no certificate: expected a primary, a secondary or both.`,
    )
  }
  return certificates
}
