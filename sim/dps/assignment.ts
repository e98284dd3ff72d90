import type { DeviceAuthenticationDescription } from '../hub/device-record.ts'
import type { SimulatedHub } from '../hub/hub.ts'
import type { IssuedLeaf } from '../hub/issued-certificates.ts'
import type { Twin } from '../hub/twin.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import { allocate, linkedHub } from './allocation.ts'
import type { Attestation } from './attestation.ts'
import type { InitialTwin } from './enrollment.ts'
import { newEtag } from '../etag.ts'
import type { LinkedHub, LinkedHubs } from './linked-hubs.ts'
import type { Registrations, RegistrationState, Substatus } from './registrations.ts'

/** What DPS writes into the device record for devices of a group. */
export type GroupAuthentication = 'selfSigned' | 'certificateAuthority'

/** An attestation that has succeeded. */
export type Attested = Extract<Attestation, { readonly kind: 'individual' | 'group' }>

/** What an assignment works on. */
export interface AssignmentTools {
  readonly linkedHubs: LinkedHubs
  readonly registrations: Registrations
  readonly groupAuthentication: GroupAuthentication
  readonly now: () => number
}

/** Where a device goes, and with what, when a webhook has chosen. */
export interface Choice {
  readonly linked: LinkedHub
  readonly initialTwin?: InitialTwin
  readonly payload?: unknown
}

/**
 * Assigns an attested device to a hub: chooses the hub where nobody has, writes the device record there, removes
 * the record from a hub it was on before, and remembers the registration.
 *
 * @param isIssued - the device was issued a certificate, and so authenticates by authority
 * @throws ServiceError 400 when the entry names a hub that is not linked
 */
export function assign(
  registrationId: string,
  attested: Attested,
  choice: Choice | undefined,
  isIssued: boolean,
  tools: AssignmentTools,
): RegistrationState {
  const { registrations } = tools
  const { stored } = attested.entry
  const before = registrations.get(registrationId)
  const hub = chooseHub(registrationId, before, attested, choice, tools)
  const deviceId =
    attested.kind === 'individual'
      ? (attested.entry.stored.deviceId ?? attested.entry.stored.registrationId)
      : (before?.deviceId ?? registrationId)
  const moved = before !== undefined && before.assignedHub !== hub.hostName
  const initialTwin = choice?.initialTwin ?? stored.initialTwin
  const isNew = hub.registry.get(deviceId) === undefined
  const issued = stored.credentialPolicyName === undefined ? [] : issuedBefore(before, tools)
  const authentication =
    isIssued || issued.length > 0
      ? { type: 'certificateAuthority' as const }
      : authenticationFor(attested, tools.groupAuthentication)
  writeRecord(hub, deviceId, authentication, stored.capabilities)
  if (moved) for (const leaf of issued) hub.trustIssued(deviceId, leaf)
  if (isNew && initialTwin !== undefined) hub.putTwin(deviceId, firstTwin(initialTwin))
  if (moved) moveFrom(before, hub, deviceId, stored.reprovisionPolicy.migrateDeviceData, tools)
  const at = new Date(tools.now()).toISOString()
  const state: RegistrationState = {
    registrationId: before?.registrationId ?? registrationId,
    createdDateTimeUtc: before?.createdDateTimeUtc ?? at,
    assignedHub: hub.hostName,
    deviceId,
    status: 'assigned',
    substatus: substatusOf(before, moved, stored.reprovisionPolicy.migrateDeviceData),
    lastUpdatedDateTimeUtc: at,
    etag: newEtag(),
    ...(attested.kind === 'group' ? { enrollmentGroupId: attested.entry.stored.enrollmentGroupId } : {}),
    ...(choice?.payload === undefined ? {} : { payload: choice.payload }),
  }
  registrations.put(state)
  return state
}

function chooseHub(
  registrationId: string,
  before: RegistrationState | undefined,
  { entry: { stored } }: Attested,
  choice: Choice | undefined,
  { linkedHubs }: AssignmentTools,
): SimulatedHub {
  const stays = before !== undefined && !stored.reprovisionPolicy.updateHubAssignment
  if (stays) return linkedHub(before.assignedHub, linkedHubs.list()).hub
  return (choice?.linked ?? allocate(registrationId, stored, linkedHubs.list())).hub
}

function firstTwin({ tags = {}, properties }: InitialTwin): Twin & { readonly tags: object } {
  return { tags, desired: { ...properties?.desired, $version: 1 }, reported: { $version: 1 } }
}

function authenticationFor(
  { kind, proof }: Attested,
  groups: GroupAuthentication,
): DeviceAuthenticationDescription {
  switch (proof.by) {
    case 'symmetricKey': {
      const { primaryKey, secondaryKey } = proof
      return { type: 'sas', symmetricKey: { primaryKey, secondaryKey } }
    }
    case 'tpm':
      return { type: 'sas' }
    case 'x509': {
      if (kind === 'group' && groups === 'certificateAuthority') return { type: 'certificateAuthority' }
      const thumbprint = thumbprint256(proof.leaf)
      // DPS repeats the thumbprint in the second place.
      return {
        type: 'selfSigned',
        x509Thumbprint: { primaryThumbprint: thumbprint, secondaryThumbprint: thumbprint },
      }
    }
  }
}

function writeRecord(
  { registry }: SimulatedHub,
  deviceId: string,
  authentication: DeviceAuthenticationDescription,
  capabilities: { readonly iotEdge: boolean } = { iotEdge: false },
): void {
  // An existing record stays enabled or disabled: disallowing at the hub is not undone by a registration.
  if (registry.get(deviceId) === undefined) registry.create({ deviceId, authentication, capabilities })
  else registry.update(deviceId, { authentication })
}

/** What the device was issued, at the hub that it is on or comes from; hubs share the authorities. */
function issuedBefore(
  before: RegistrationState | undefined,
  { linkedHubs }: AssignmentTools,
): readonly IssuedLeaf[] {
  if (before === undefined) return []
  return linkedHubs.known(before.assignedHub)?.issuedTo(before.deviceId) ?? []
}

function moveFrom(
  before: RegistrationState,
  to: SimulatedHub,
  deviceId: string,
  migrate: boolean,
  { linkedHubs }: AssignmentTools,
): void {
  const from = linkedHubs.known(before.assignedHub)
  if (from?.registry.get(before.deviceId) === undefined) return
  if (migrate) to.putTwin(deviceId, from.twin(before.deviceId))
  from.registry.delete(before.deviceId)
}

function substatusOf(before: RegistrationState | undefined, moved: boolean, migrate: boolean): Substatus {
  if (before === undefined) return 'initialAssignment'
  if (!moved) return 'reprovisionedToInitialAssignment'
  return migrate ? 'deviceDataMigrated' : 'deviceDataReset'
}
