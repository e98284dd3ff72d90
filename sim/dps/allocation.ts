import { createHash } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import type { EnrollmentGroup, IndividualEnrollment, Stored } from './enrollment.ts'
import type { LinkedHub } from './linked-hubs.ts'

/** What decides about the hub of a device. */
type Entry = Stored<IndividualEnrollment> | Stored<EnrollmentGroup>

/** The linked hubs that an entry allows. @throws ServiceError 400 when it names one that is not linked */
export function candidatesOf(entry: Entry, linked: readonly LinkedHub[]): readonly LinkedHub[] {
  const { iotHubs = [], iotHubHostName } = entry
  const names = iotHubs.length > 0 ? iotHubs : iotHubHostName === undefined ? [] : [iotHubHostName]
  if (names.length === 0) return linked
  return names.map((name) => linkedHub(name, linked))
}

/** @throws ServiceError 400 when it is not linked */
export function linkedHub(name: string, linked: readonly LinkedHub[]): LinkedHub {
  const found = linked.find(({ hub }) => hub.hostName === name.toLowerCase())
  if (found !== undefined) return found
  const names = linked.map(({ hub }) => hub.hostName).join(', ')
  throw new ServiceError(400, 400208, `The hub "${name}" is not linked: expected one of ${names}.`)
}

/**
 * Chooses among linked hubs; `custom` is for a webhook to choose.
 *
 * @throws ServiceError 400 when there is none to choose from
 */
export function allocate(registrationId: string, entry: Entry, linked: readonly LinkedHub[]): LinkedHub {
  const candidates = candidatesOf(entry, linked)
  const { iotHubHostName } = entry
  const policy = entry.allocationPolicy ?? (iotHubHostName === undefined ? 'hashed' : 'static')
  const chosen =
    policy === 'static'
      ? iotHubHostName === undefined
        ? candidates[0]
        : linkedHub(iotHubHostName, linked)
      : policy === 'geoLatency'
        ? [...candidates].sort((one, other) => one.latencyMs - other.latencyMs)[0]
        : hashed(registrationId, candidates)
  if (chosen === undefined) throw new ServiceError(400, 400208, 'No hub is linked that could be assigned.')
  return chosen
}

/** Weighted, and the same for the same registration id, whatever its case and whoever runs it. */
function hashed(registrationId: string, candidates: readonly LinkedHub[]): LinkedHub | undefined {
  const total = candidates.reduce((sum, { allocationWeight }) => sum + allocationWeight, 0)
  if (total <= 0) return candidates[0]
  let left = createHash('sha256').update(registrationId.toLowerCase()).digest().readUInt32BE(0) % total
  for (const candidate of candidates) {
    left -= candidate.allocationWeight
    if (left < 0) return candidate
  }
  return candidates.at(-1)
}
