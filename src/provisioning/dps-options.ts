import type { NetworkOptions } from '../transport/network.ts'
import type { OnboardingCredential } from './onboarding.ts'

/** How to reach a Device Provisioning Service. */
export interface DpsOptions extends NetworkOptions {
  /** `global.azure-devices-provisioning.net`, or the service's own host; `host:port` where the port is not 8883. */
  readonly provisioningHost: string
  /** The id scope of the service, such as `0ne00000A0A`. */
  readonly idScope: string
  /**
   * What the device registers with in place of the certificate it uses at the hub: for devices whose certificates the
   * service itself issues, which DPS does not know. Default: that certificate.
   */
  readonly onboarding?: OnboardingCredential
  /** How long to wait between two questions where DPS names no time, in milliseconds. Default 2 000. */
  readonly pollingIntervalMs?: number
  /** How long a whole registration may take once TLS is open, in milliseconds. Default 180 000. */
  readonly registrationTimeoutMs?: number
}
