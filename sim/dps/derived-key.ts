import { signatureOf } from '../http/sas.ts'
import { isTyped, type EntryAttestation } from './enrollment.ts'

/** The two keys of one device. */
export interface DeviceKeys {
  readonly primaryKey: string
  readonly secondaryKey: string
}

/** The key of one device of a group: HMAC-SHA256 of its registration id under the group's key. */
export function derivedKey(groupKey: string, registrationId: string): string {
  return signatureOf(registrationId, groupKey).toString('base64')
}

/** The keys that a device of a group has; `undefined` when the group attests otherwise. */
export function derivedKeys(attestation: EntryAttestation, registrationId: string): DeviceKeys | undefined {
  if (!isTyped(attestation) || attestation.type !== 'symmetricKey') return undefined
  return {
    primaryKey: derivedKey(attestation.primaryKey ?? '', registrationId),
    secondaryKey: derivedKey(attestation.secondaryKey ?? '', registrationId),
  }
}
