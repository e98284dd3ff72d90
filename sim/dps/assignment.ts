import { createHash, randomUUID, type X509Certificate } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import type { DeviceAuthenticationDescription } from '../hub/device-record.ts'
import type { SimulatedHub } from '../hub/hub.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import type { Attestation } from './attestation.ts'
import type { Registrations, RegistrationState, Substatus } from './registrations.ts'

/** What DPS writes into the device record for devices of a group. */
export type GroupAuthentication = 'selfSigned' | 'certificateAuthority'

/** An attestation that has succeeded. */
export type Attested = Extract<Attestation, { readonly kind: 'individual' | 'group' }>

/** What an assignment works on. */
export interface AssignmentTools {
  /** The linked hubs. */
  readonly hubs: readonly SimulatedHub[]
  readonly registrations: Registrations
  readonly groupAuthentication: GroupAuthentication
  readonly now: () => number
}

/**
 * Assigns an attested device to a hub: chooses the hub, writes the device record there, removes the record from
 * a hub it was on before, and remembers the registration.
 *
 * @throws ServiceError 400 when the entry names a hub that is not linked
 */
export function assign(
  registrationId: string,
  leaf: X509Certificate,
  attested: Attested,
  tools: AssignmentTools,
): RegistrationState {
  const { registrations } = tools
  const before = registrations.get(registrationId)
  const { reprovisionPolicy } = attested.entry.stored
  const hub = chooseHub(registrationId, before, attested, tools)
  const deviceId =
    attested.kind === 'individual'
      ? (attested.entry.stored.deviceId ?? attested.entry.stored.registrationId)
      : (before?.deviceId ?? registrationId)
  const moved = before !== undefined && before.assignedHub !== hub.hostName
  writeRecord(hub, deviceId, authenticationFor(leaf, attested.kind, tools.groupAuthentication))
  if (moved) moveFrom(before, hub, deviceId, reprovisionPolicy.migrateDeviceData, tools)
  const at = new Date(tools.now()).toISOString()
  const state: RegistrationState = {
    registrationId: before?.registrationId ?? registrationId,
    createdDateTimeUtc: before?.createdDateTimeUtc ?? at,
    assignedHub: hub.hostName,
    deviceId,
    status: 'assigned',
    substatus: substatusOf(before, moved, reprovisionPolicy.migrateDeviceData),
    lastUpdatedDateTimeUtc: at,
    etag: Buffer.from(`"${randomUUID()}"`).toString('base64'),
    ...(attested.kind === 'group' ? { enrollmentGroupId: attested.entry.stored.enrollmentGroupId } : {}),
  }
  registrations.put(state)
  return state
}

function chooseHub(
  registrationId: string,
  before: RegistrationState | undefined,
  { entry }: Attested,
  { hubs }: AssignmentTools,
): SimulatedHub {
  const { iotHubHostName, reprovisionPolicy } = entry.stored
  const wanted =
    before !== undefined && !reprovisionPolicy.updateHubAssignment ? before.assignedHub : iotHubHostName
  const hub =
    wanted === undefined
      ? hubs[stableHash(registrationId) % hubs.length]
      : hubs.find(({ hostName }) => hostName === wanted.toLowerCase())
  if (hub === undefined) {
    const linked = hubs.map(({ hostName }) => hostName).join(', ')
    throw new ServiceError(400, 400208, `The hub "${wanted ?? ''}" is not linked: expected one of ${linked}.`)
  }
  return hub
}

/** The same for the same registration id, whatever its case and whoever runs it. */
function stableHash(registrationId: string): number {
  return createHash('sha256').update(registrationId.toLowerCase()).digest().readUInt32BE(0)
}

function authenticationFor(
  leaf: X509Certificate,
  kind: Attested['kind'],
  groups: GroupAuthentication,
): DeviceAuthenticationDescription {
  if (kind === 'group' && groups === 'certificateAuthority') return { type: 'certificateAuthority' }
  const thumbprint = thumbprint256(leaf)
  // DPS repeats the thumbprint in the second place.
  return {
    type: 'selfSigned',
    x509Thumbprint: { primaryThumbprint: thumbprint, secondaryThumbprint: thumbprint },
  }
}

function writeRecord(
  { registry }: SimulatedHub,
  deviceId: string,
  authentication: DeviceAuthenticationDescription,
): void {
  // An existing record stays enabled or disabled: disallowing at the hub is not undone by a registration.
  if (registry.get(deviceId) === undefined) registry.create({ deviceId, authentication })
  else registry.update(deviceId, { authentication })
}

function moveFrom(
  before: RegistrationState,
  to: SimulatedHub,
  deviceId: string,
  migrate: boolean,
  { hubs }: AssignmentTools,
): void {
  const from = hubs.find(({ hostName }) => hostName === before.assignedHub)
  if (from?.registry.get(before.deviceId) === undefined) return
  if (migrate) to.putTwin(deviceId, from.twin(before.deviceId))
  from.registry.delete(before.deviceId)
}

function substatusOf(before: RegistrationState | undefined, moved: boolean, migrate: boolean): Substatus {
  if (before === undefined) return 'initialAssignment'
  if (!moved) return 'reprovisionedToInitialAssignment'
  return migrate ? 'deviceDataMigrated' : 'deviceDataReset'
}
