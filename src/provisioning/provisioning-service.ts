import type { DeviceId } from '../brands.ts'
import type { Credential } from '../transport/credential.ts'

/** Where DPS sends the device: the outcome of a registration. */
export interface Registration {
  /** Host name of the hub, such as `hub-a.azure-devices.net`. */
  readonly assignedHub: string
  readonly deviceId: DeviceId
  /** `initialAssignment`, `deviceDataMigrated`, `deviceDataReset` or `reprovisionedToInitialAssignment`. */
  readonly substatus: string | undefined
  /** What a custom allocation returned, untouched. */
  readonly payload: unknown
}

/** The Device Provisioning Service, as the agent sees it. */
export interface ProvisioningService {
  /**
   * Registers the device with one credential, on a connection of its own, and waits for the assignment.
   * One call is one registration: nothing is retried inside.
   *
   * @throws LeafkeeperError from the raw cause: `DPS_UNAUTHORIZED`, `DPS_DISABLED`, `DPS_NOT_FOUND`,
   * `DPS_REGISTRATION_FAILED`, `DPS_THROTTLED` (with `retryAfterMs`), `DPS_UNAVAILABLE`, `DPS_REFUSED`,
   * `NETWORK_UNREACHABLE`, `NETWORK_TIMEOUT`, `TLS_SERVER_UNTRUSTED`, `TLS_KEY_UNUSABLE`, `TLS_RESTART_NEEDED`, `PROTOCOL_ERROR`,
   * `TPM_*`, and `AGENT_CONFIG_INVALID` for a credential of another kind than the service takes
   */
  register(credential: Credential, signal: AbortSignal): Promise<Registration>
}
