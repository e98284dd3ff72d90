import { commonNameOf, isValidAt } from '../pki/certificate.ts'
import { hasSigned, type PresentedChain } from '../pki/presented-chain.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import type { EnrollmentGroup, Entry, IndividualEnrollment } from './enrollment.ts'
import type { EntryStore } from './entry-store.ts'

/** Both kinds of entries. */
export interface Entries {
  readonly enrollments: EntryStore<IndividualEnrollment>
  readonly groups: EntryStore<EnrollmentGroup>
}

/** What DPS makes of a device that wants to register. */
export type Attestation =
  | { readonly kind: 'individual'; readonly entry: Entry<IndividualEnrollment> }
  | { readonly kind: 'group'; readonly entry: Entry<EnrollmentGroup> }
  /** `message` goes to the device, `reason` to whoever runs the service. */
  | { readonly kind: 'unauthorized'; readonly message: string; readonly reason: string }
  | { readonly kind: 'disabled'; readonly reason: string }

/**
 * Decides by which entry a device attests.
 *
 * An individual enrollment of that name decides alone, whatever the groups would say. Otherwise the chain is
 * walked up from the leaf, and the first group that has signed a certificate in it decides.
 *
 * @param now - milliseconds since 1970
 */
export function attest(
  registrationId: string,
  presented: PresentedChain,
  entries: Entries,
  now: number,
): Attestation {
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
  if (individual !== undefined) {
    if (individual.stored.provisioningStatus === 'disabled') {
      return { kind: 'disabled', reason: `The enrollment "${registrationId}" is disabled.` }
    }
    return individual.thumbprints.has(thumbprint)
      ? { kind: 'individual', entry: individual }
      : unauthorized('Unauthorized', `The enrollment "${registrationId}" has other certificates.`)
  }
  return attestByGroup(presented, entries, now)
}

function attestByGroup(presented: PresentedChain, { groups }: Entries, now: number): Attestation {
  const entry = presented.findAuthority(
    (subject) =>
      groups.find(({ certificates }) =>
        certificates.some((authority) => isValidAt(authority, now) && hasSigned(authority, subject)),
      ),
    now,
  )
  if (entry === undefined) {
    return unauthorized('CA certificate not found.', 'The certificate leads to no enrollment group.')
  }
  return entry.stored.provisioningStatus === 'disabled'
    ? { kind: 'disabled', reason: `The enrollment group "${entry.stored.enrollmentGroupId}" is disabled.` }
    : { kind: 'group', entry }
}

function unauthorized(message: string, reason: string): Attestation {
  return { kind: 'unauthorized', message, reason }
}
