import type { SimulatedCloud } from 'leafkeeper-sim'
import { stateOf, type State } from './fuzz.ts'

/** All that DPS knows, and what it has written to the hubs. */
export function provisioningState({ dps, hubs }: SimulatedCloud): State {
  return stateOf({
    enrollment: dps.enrollments.list().map((one) => [one.registrationId, one]),
    group: dps.groups.list().map((one) => [one.enrollmentGroupId, one]),
    certificate: dps.certificates.list().map((one) => [one.name, one]),
    registration: dps.registrations.list().map((one) => [one.registrationId, one]),
    device: hubs.flatMap(({ registry }) => registry.list()).map((one) => [one.deviceId, one]),
  })
}
