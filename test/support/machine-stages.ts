import { DrivenMachine, failure } from './machine.ts'

/** The machine at each stage of its life, for tests that begin there. */
export const unauthorized = failure('HUB_UNAUTHORIZED')
export const dpsRefuses = failure('DPS_UNAUTHORIZED')
export const network = failure('NETWORK_UNREACHABLE', true)

export const fresh = (): DrivenMachine => new DrivenMachine()
export const connected = (): DrivenMachine => fresh().bootstrapped()
/** Connected for long enough that what failed before is forgotten. */
export const steady = (): DrivenMachine => {
  const machine = connected()
  machine.at += machine.state.policy.stableAfterMs
  return machine
}
export const requesting = (): DrivenMachine => connected().roll().generated()
export const storing = (): DrivenMachine => requesting().issued()
export const proving = (): DrivenMachine => storing().stored()
export const stagedAfterRefusal = (): DrivenMachine => proving().fails('register', dpsRefuses)
export const switching = (): DrivenMachine => proving().registered()
export const retiring = (): DrivenMachine => switching().hubConnected()
