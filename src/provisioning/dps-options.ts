import type { NetworkOptions } from '../transport/network.ts'

/** How to reach a Device Provisioning Service. */
export interface DpsOptions extends NetworkOptions {
  /** `global.azure-devices-provisioning.net`, or the service's own host; `host:port` where the port is not 8883. */
  readonly provisioningHost: string
  /** The id scope of the service, such as `0ne00000A0A`. */
  readonly idScope: string
  /** How long to wait between two questions where DPS names no time, in milliseconds. Default 2 000. */
  readonly pollingIntervalMs?: number
  /** How long a whole registration may take once TLS is open, in milliseconds. Default 180 000. */
  readonly registrationTimeoutMs?: number
}
