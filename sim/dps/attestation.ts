import type { X509Certificate } from 'node:crypto'
import { sasRefusal } from '../http/sas.ts'
import { commonNameOf, isValidAt } from '../pki/certificate.ts'
import { hasSigned, type PresentedChain } from '../pki/presented-chain.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import type { CertificateStore } from '../certificates/certificate-store.ts'
import { derivedKeys } from './derived-key.ts'
import { isTyped, type EnrollmentGroup, type Entry, type IndividualEnrollment } from './enrollment.ts'
import type { EntryStore } from './entry-store.ts'
import type { TpmKeys } from './tpm/tpm-keys.ts'

/** What attestation looks at. */
export interface Entries {
  readonly enrollments: EntryStore<IndividualEnrollment>
  readonly groups: EntryStore<EnrollmentGroup>
  readonly certificates: CertificateStore
  /** The key that a TPM was given to sign with, if it was. */
  readonly tpmKey: (registrationId: string) => string | undefined
}

/** What a device shows of itself. */
export interface Claim {
  readonly registrationId: string
  readonly presented: PresentedChain
  /** A shared access signature, where one was sent. */
  readonly token: string | undefined
  /** What the token must be for: `{idScope}/registrations/{registrationId}`. */
  readonly resource: string
  /** The public keys of its TPM, where they were sent. */
  readonly tpm?: TpmKeys | undefined
}

/** By what a device has proven that it is one of an entry. */
export type Proof =
  | { readonly by: 'x509'; readonly leaf: X509Certificate }
  | { readonly by: 'symmetricKey'; readonly primaryKey: string; readonly secondaryKey: string }
  | { readonly by: 'tpm' }

/** What DPS makes of a device that wants to register. */
export type Attestation =
  | { readonly kind: 'individual'; readonly entry: Entry<IndividualEnrollment>; readonly proof: Proof }
  | { readonly kind: 'group'; readonly entry: Entry<EnrollmentGroup>; readonly proof: Proof }
  /** `message` goes to the device, `reason` to whoever runs the service. */
  | { readonly kind: 'unauthorized'; readonly message: string; readonly reason: string }
  | { readonly kind: 'disabled'; readonly reason: string }
  /** A TPM is to decrypt the key that it will sign with. */
  | { readonly kind: 'challenge' }

/**
 * Decides by which entry a device attests.
 *
 * An individual enrollment of that name decides alone, whatever the groups would say. Otherwise the chain is
 * walked up from the leaf, and the first group that has signed a certificate in it decides; or a group from whose
 * key the device's key is derived.
 *
 * @param now - milliseconds since 1970
 */
export function attest(claim: Claim, entries: Entries, now: number): Attestation {
  const individual = entries.enrollments.entry(claim.registrationId)
  const attestation = individual?.stored.attestation
  if (individual !== undefined && attestation !== undefined && isTyped(attestation)) {
    return attestByKey(claim, individual, entries, now)
  }
  return claim.token === undefined || claim.presented.leaf !== undefined
    ? attestByCertificate(claim, entries, now)
    : attestByDerivedKey(claim, entries, now)
}

function attestByCertificate(claim: Claim, entries: Entries, now: number): Attestation {
  const { registrationId, presented } = claim
  const { leaf } = presented
  if (leaf === undefined)
    return unauthorized('Unauthorized', 'Expected a client certificate, none was presented.')
  const name = commonNameOf(leaf)
  if (name?.toLowerCase() !== registrationId.toLowerCase()) {
    const whose = name ?? 'no one'
    return unauthorized(
      'Unauthorized',
      `Expected a certificate for "${registrationId}", got one for "${whose}".`,
    )
  }
  if (!isValidAt(leaf, now)) {
    return unauthorized(
      'Invalid certificate.',
      `The certificate is valid from ${leaf.validFrom} to ${leaf.validTo}, which is not now.`,
    )
  }
  const thumbprint = thumbprint256(leaf)
  const disabled = entries.enrollments.find(
    (entry) => entry.stored.provisioningStatus === 'disabled' && entry.thumbprints.has(thumbprint),
  )
  if (disabled !== undefined) {
    return {
      kind: 'disabled',
      reason: `The certificate is in the disabled entry "${disabled.stored.registrationId}".`,
    }
  }
  const individual = entries.enrollments.entry(registrationId)
  if (individual === undefined) return attestByChain(leaf, presented, entries, now)
  if (individual.stored.provisioningStatus === 'disabled') return disabledEntry(registrationId)
  return individual.thumbprints.has(thumbprint)
    ? { kind: 'individual', entry: individual, proof: { by: 'x509', leaf } }
    : unauthorized('Unauthorized', `The enrollment "${registrationId}" has other certificates.`)
}

function attestByChain(
  leaf: X509Certificate,
  presented: PresentedChain,
  { groups, certificates }: Entries,
  now: number,
): Attestation {
  const entry = presented.findAuthority(
    (subject) =>
      groups.find((group) =>
        authoritiesOf(group, certificates).some(
          (authority) => isValidAt(authority, now) && hasSigned(authority, subject),
        ),
      ),
    now,
  )
  if (entry === undefined) {
    return unauthorized('CA certificate not found.', 'The certificate leads to no enrollment group.')
  }
  return entry.stored.provisioningStatus === 'disabled'
    ? disabledEntry(entry.stored.enrollmentGroupId)
    : { kind: 'group', entry, proof: { by: 'x509', leaf } }
}

/** The authorities of a group that count now: those that are verified, or signed by a verified one. */
function authoritiesOf(
  { certificates, stored }: Entry<EnrollmentGroup>,
  known: CertificateStore,
): readonly X509Certificate[] {
  const { attestation } = stored
  if (!isTyped(attestation)) return certificates.filter((authority) => known.anchors(authority))
  if (attestation.type !== 'caReferences') return []
  return [attestation.primary, attestation.secondary].flatMap((name) => {
    const authority = name === undefined ? undefined : known.verified(name)
    return authority === undefined ? [] : [authority]
  })
}

function attestByKey(
  claim: Claim,
  entry: Entry<IndividualEnrollment>,
  entries: Entries,
  now: number,
): Attestation {
  const { registrationId, token, resource, tpm } = claim
  const { attestation, provisioningStatus } = entry.stored
  if (provisioningStatus === 'disabled') return disabledEntry(registrationId)
  const refusal = (keys: readonly string[]): string | undefined =>
    sasRefusal(token, { resource, keysOf: (policy) => (policy === 'registration' ? keys : []), now })
  if (!isTyped(attestation) || attestation.type === 'caReferences') {
    return unauthorized('Unauthorized', `The enrollment "${registrationId}" wants a certificate.`)
  }
  if (attestation.type === 'symmetricKey') {
    const { primaryKey = '', secondaryKey = '' } = attestation
    const reason = refusal([primaryKey, secondaryKey])
    return reason === undefined
      ? { kind: 'individual', entry, proof: { by: 'symmetricKey', primaryKey, secondaryKey } }
      : unauthorized('Unauthorized', reason)
  }
  // A poll repeats the token, not the keys.
  if (tpm !== undefined && tpm.endorsementKey !== attestation.endorsementKey) {
    return unauthorized('Unauthorized', `The endorsement key is not that of "${registrationId}".`)
  }
  if (token === undefined) {
    return tpm === undefined
      ? unauthorized('Unauthorized', 'Expected the keys of a TPM, got none.')
      : { kind: 'challenge' }
  }
  const key = entries.tpmKey(registrationId)
  const reason = refusal(key === undefined ? [] : [key])
  return reason === undefined
    ? { kind: 'individual', entry, proof: { by: 'tpm' } }
    : unauthorized('Unauthorized', reason)
}

function attestByDerivedKey(
  { registrationId, token, resource }: Claim,
  { enrollments, groups }: Entries,
  now: number,
): Attestation {
  if (enrollments.entry(registrationId) !== undefined) {
    return unauthorized('Unauthorized', `The enrollment "${registrationId}" wants a certificate.`)
  }
  let reason = 'No enrollment group has keys.'
  for (const stored of groups.list()) {
    const keys = derivedKeys(stored.attestation, registrationId)
    if (keys === undefined) continue
    const refusal = sasRefusal(token, {
      resource,
      keysOf: (policy) => (policy === 'registration' ? [keys.primaryKey, keys.secondaryKey] : []),
      now,
    })
    const entry = groups.entry(stored.enrollmentGroupId)
    if (refusal === undefined && entry !== undefined) {
      return stored.provisioningStatus === 'disabled'
        ? disabledEntry(stored.enrollmentGroupId)
        : { kind: 'group', entry, proof: { by: 'symmetricKey', ...keys } }
    }
    reason = refusal ?? reason
  }
  return unauthorized('Unauthorized', reason)
}

function disabledEntry(id: string): Attestation {
  return { kind: 'disabled', reason: `The entry "${id}" is disabled.` }
}

function unauthorized(message: string, reason: string): Attestation {
  return { kind: 'unauthorized', message, reason }
}
