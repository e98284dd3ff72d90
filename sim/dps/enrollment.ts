import type { X509Certificate } from 'node:crypto'
import { ServiceError } from '../errors.ts'

/** Certificates by which an entry attests; one of the two is enough, either one matches. */
export interface X509Attestation {
  /** PEM. */
  readonly primary?: string
  /** PEM. */
  readonly secondary?: string
}

/** Verified DPS certificates by their names, for groups: replacing a certificate leaves the group alone. */
export interface CaReferenceAttestation {
  readonly type: 'caReferences'
  readonly primary?: string
  readonly secondary?: string
}

/** Keys in Base64; for a group those from which each device's key is derived. What is left out is made up. */
export interface SymmetricKeyAttestation {
  readonly type: 'symmetricKey'
  readonly primaryKey?: string
  readonly secondaryKey?: string
}

/** The public keys of a TPM: TPM2B_PUBLIC in Base64. Individual enrollments only. */
export interface TpmAttestation {
  readonly type: 'tpm'
  readonly endorsementKey: string
  readonly storageRootKey?: string
}

/** How a device of an entry proves that it is one. */
export type EntryAttestation = X509Attestation | TypedAttestation

type TypedAttestation = CaReferenceAttestation | SymmetricKeyAttestation | TpmAttestation

/** How a hub is chosen. */
export type AllocationPolicy = 'hashed' | 'geoLatency' | 'static' | 'custom'

/** A webhook that chooses the hub. Loopback only. */
export interface CustomAllocation {
  readonly webhookUrl: string
  readonly apiVersion: string
}

/** What the twin of a new device begins with. */
export interface InitialTwin {
  readonly tags?: Readonly<Record<string, unknown>>
  readonly properties?: { readonly desired?: Readonly<Record<string, unknown>> }
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
  readonly attestation: EntryAttestation
  /** Default `enabled`. */
  readonly provisioningStatus?: 'enabled' | 'disabled'
  /** Static allocation; without it devices are spread over the linked hubs by a stable hash. */
  readonly iotHubHostName?: string
  readonly reprovisionPolicy?: ReprovisionPolicy
  /** Default: `static` where a hub is named, else `hashed`. */
  readonly allocationPolicy?: AllocationPolicy
  /** Host names of the linked hubs that come into question. Default: all. */
  readonly iotHubs?: readonly string[]
  readonly customAllocationDefinition?: CustomAllocation
  readonly initialTwin?: InitialTwin
  readonly capabilities?: { readonly iotEdge: boolean }
  /** The credential policy by which devices are issued certificates; without it they are issued none. */
  readonly credentialPolicyName?: string
}

/** An entry for one device. */
export interface IndividualEnrollment extends EntryOptions {
  readonly registrationId: string
  /** Default: the registration id. */
  readonly deviceId?: string
  readonly optionalDeviceInformation?: Readonly<Record<string, unknown>>
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

/** Whether an attestation is one of those that say what they are; the others are certificates of the entry itself. */
export function isTyped(attestation: EntryAttestation): attestation is TypedAttestation {
  return 'type' in attestation
}

/**
 * Reads the certificates of an entry; other attestations have none.
 *
 * @throws ServiceError 400 when there should be one and is none, or one cannot be read
 */
export function attestationCertificates(
  id: string,
  attestation: EntryAttestation,
  read: (pem: string, what: string) => X509Certificate,
): readonly X509Certificate[] {
  const certificates: X509Certificate[] = []
  if (isTyped(attestation)) return certificates
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
