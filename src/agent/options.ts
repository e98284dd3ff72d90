import type { KeyType } from '../hsm/key-store.ts'
import type { OpenTokenOptions } from '../hsm/open-token.ts'
import type { HubTransport } from '../hub/hub-transport.ts'
import type { OutboxOptions } from '../hub/outbox.ts'
import type { Issuer } from '../issuer/issuer.ts'
import type { ProvisioningService } from '../provisioning/provisioning-service.ts'
import type { Logger } from '../log/logger.ts'
import type { AdoptOptions } from './adoption.ts'
import type { Clock } from './clock.ts'
import type { MethodTable } from './methods.ts'
import type { AgentWatcher } from './observed-agent.ts'
import type { PolicyOptions } from './policy.ts'
import type { Assignment } from './states.ts'

/** What a DeviceAgent is made of. */
export interface DeviceAgentOptions {
  /**
   * The registration id in DPS, and the common name of every certificate of the device: 1 to 64 characters of
   * `A-Z a-z 0-9 - . _ :`, the last one alphanumeric or a dash.
   */
  readonly registrationId: string
  /** The token that holds the keys. Agents of one process may share it. */
  readonly token: OpenTokenOptions
  /** The name of this agent's keys on the token. Default: the registration id. */
  readonly agentName?: string
  /**
   * A key pair that is on the token already and becomes the first generation, where the device has none. Its objects get
   * the agent's label; it leaves the token when it is retired, like any other.
   */
  readonly adopt?: AdoptOptions
  /** The type of new keys. Default `EC-P256`. */
  readonly keyType?: KeyType
  /** DPS; without it, `assignment` names the hub. */
  readonly provisioning?: ProvisioningService
  /** The hub of a device that does not use DPS. */
  readonly assignment?: Assignment
  readonly hub: HubTransport
  /** Where new certificates come from; without it the agent keeps the one it has. */
  readonly issuer?: Issuer
  /** Folder for the journal. Without it nothing but the token outlives the process. */
  readonly stateFolder?: string
  readonly policy?: PolicyOptions
  readonly outbox?: OutboxOptions
  /** Direct methods of the application, by name; those of leafkeeper itself cannot be replaced. */
  readonly methods?: MethodTable
  /**
   * Whether the agent reports to the device's twin, under `leafkeeper`, and listens there for a window to roll in.
   * Default true; a hub of the basic tier has no twins.
   */
  readonly twin?: boolean
  /** Gets a line for everything that happens, beginning with the start. */
  readonly logger?: Logger
  /** Counts and measures; agents may share it. See `createMetrics`. */
  readonly metrics?: AgentWatcher
  /** For tests and simulations. */
  readonly clock?: Clock
  /** For tests and simulations: a random number from 0 up to, not including, 1. */
  readonly random?: () => number
}
