import { randomBytes } from 'node:crypto'
import type { CredentialPolicies } from '../adr/credential-policies.ts'
import { ServiceError } from '../errors.ts'
import type { CertificateStore } from '../certificates/certificate-store.ts'
import { readAnyCertificate } from '../certificates/read-certificate.ts'
import {
  isTyped,
  type EnrollmentGroup,
  type EntryAttestation,
  type IndividualEnrollment,
} from './enrollment.ts'

/** Makes up the keys that were left out: those there were before, or new ones. @throws ServiceError 400 */
export function completeEnrollment(
  entry: IndividualEnrollment,
  before: IndividualEnrollment | undefined,
): IndividualEnrollment {
  checkAllocation(entry)
  const { attestation } = entry
  if (isTyped(attestation) && attestation.type === 'caReferences') {
    throw new ServiceError(400, 400209, 'Certificate references are for enrollment groups.')
  }
  if (isTyped(attestation) && attestation.type === 'tpm' && attestation.endorsementKey === '') {
    throw new ServiceError(400, 400209, 'A TPM attestation needs the endorsement key.')
  }
  return { ...entry, attestation: withKeys(attestation, before?.attestation) }
}

/** The same for a group, whose authorities must be verified, or signed by one that is. @throws ServiceError 400 */
export function completeGroup(
  entry: EnrollmentGroup,
  before: EnrollmentGroup | undefined,
  certificates: CertificateStore,
): EnrollmentGroup {
  checkAllocation(entry)
  const { attestation } = entry
  if (!isTyped(attestation)) {
    for (const pem of [attestation.primary, attestation.secondary]) {
      if (pem === undefined) continue
      const authority = readAnyCertificate(pem, `A certificate of "${entry.enrollmentGroupId}"`)
      if (authority.ca && !certificates.anchors(authority)) {
        throw new ServiceError(
          400,
          400210,
          `CA certificate not found: "${authority.subject}" is not verified, nor signed by a verified authority.`,
        )
      }
    }
  } else if (attestation.type === 'caReferences') {
    const names = [attestation.primary, attestation.secondary].filter((name) => name !== undefined)
    const missing = names.find((name) => certificates.verified(name) === undefined)
    if (names.length === 0 || missing !== undefined) {
      throw new ServiceError(
        400,
        400210,
        `CA certificate not found: there is no verified certificate "${missing ?? ''}".`,
      )
    }
  } else if (attestation.type === 'tpm') {
    throw new ServiceError(400, 400209, 'TPM attestation is for individual enrollments.')
  }
  return { ...entry, attestation: withKeys(attestation, before?.attestation) }
}

/** @throws ServiceError 400 when an entry names a credential policy that is not there */
export function requirePolicy(
  { credentialPolicyName: name }: IndividualEnrollment | EnrollmentGroup,
  policies: CredentialPolicies,
): void {
  if (name !== undefined && policies.get(name) === undefined) {
    throw new ServiceError(400, 400214, `There is no credential policy "${name}".`)
  }
}

function withKeys(attestation: EntryAttestation, before: EntryAttestation | undefined): EntryAttestation {
  if (!isTyped(attestation) || attestation.type !== 'symmetricKey') return attestation
  const kept = before !== undefined && isTyped(before) && before.type === 'symmetricKey' ? before : undefined
  const key = (slot: 'primaryKey' | 'secondaryKey'): string => {
    const asked = attestation[slot] ?? ''
    if (asked === '') return kept?.[slot] ?? randomBytes(64).toString('base64')
    const length = Buffer.from(asked, 'base64').length
    if (!/^[A-Za-z0-9+/]+={0,2}$/.test(asked) || length < 16 || length > 64) {
      throw new ServiceError(400, 400211, 'A symmetric key is Base64 of 16 to 64 bytes.')
    }
    return asked
  }
  return { type: 'symmetricKey', primaryKey: key('primaryKey'), secondaryKey: key('secondaryKey') }
}

function checkAllocation({
  allocationPolicy,
  customAllocationDefinition: custom,
}: IndividualEnrollment | EnrollmentGroup): void {
  if (allocationPolicy !== 'custom') return
  if (custom === undefined || !isLoopback(custom.webhookUrl)) {
    throw new ServiceError(
      400,
      400212,
      'Custom allocation needs a webhookUrl; this cloud calls http or https on loopback addresses only.',
    )
  }
}

function isLoopback(url: string): boolean {
  if (!URL.canParse(url)) return false
  const { protocol, hostname } = new URL(url)
  return /^https?:$/.test(protocol) && /^(localhost|127(\.\d{1,3}){3}|\[::1\])$/.test(hostname)
}
