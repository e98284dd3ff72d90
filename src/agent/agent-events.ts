import type { LeafkeeperError } from '../errors.ts'
import type { HsmCall } from '../hsm/timed-key-store.ts'
import type { KeyType } from '../hsm/key-store.ts'
import type { Effect } from './effects.ts'
import type { Retry } from './retries.ts'
import type { Assignment, Connection, Roll, RollMode } from './states.ts'

/** One move of one region of the machine. */
export type Transition =
  | {
      readonly region: 'connection'
      readonly from: Connection['phase']
      readonly to: Connection['phase']
      readonly at: Date
    }
  | { readonly region: 'roll'; readonly from: Roll['phase']; readonly to: Roll['phase']; readonly at: Date }

/** What a roll is asked to be. */
export interface RollOptions {
  /** `expiry` (default) keeps the old key for the overlap; `breach` destroys it as soon as the new one is in use. */
  readonly mode?: Exclude<RollMode, 'bootstrap'>
  /** Default: the agent's own. */
  readonly keyType?: KeyType
}

/** What a roll came to, once a hub has accepted the new generation. */
export interface RollReport {
  readonly requestId: string
  readonly mode: RollMode
  readonly generation: number
  /** SHA-256, upper-case hexadecimal; `null` for the first certificate of a device. */
  readonly oldThumbprint: string | null
  readonly newThumbprint: string
  readonly notAfter: Date
  /** From the start of the roll until the hub has accepted the new generation, in milliseconds. */
  readonly durationMs: number
  /** How long the device had no usable hub connection during the switch, in milliseconds; `null` when it had none before. */
  readonly blackoutMs: number | null
}

/** The events of a DeviceAgent, each with its arguments. */
export interface DeviceAgentEvents {
  /** Every move of the machine. */
  transition: [Transition]
  /** The hub has accepted the device. */
  connected: [{ readonly assignment: Assignment; readonly generation: number; readonly thumbprint: string }]
  /** A connection that was up has ended. */
  disconnected: [LeafkeeperError]
  /** The hub has refused the credential; the agent goes back to DPS by itself. */
  unauthorized: [LeafkeeperError]
  /** DPS has answered with an assignment. */
  registered: [
    { readonly generation: number; readonly assignment: Assignment; readonly substatus: string | undefined },
  ]
  /** A new generation is complete and waits for DPS to accept it. */
  staged: [{ readonly generation: number; readonly thumbprint: string }]
  /** A roll is complete: the hub has accepted the new generation. */
  rolled: [RollReport]
  /** A roll was given up; the active generation was never touched. */
  rollFailed: [{ readonly requestId: string; readonly error: LeafkeeperError }]
  /** An old or unwanted generation has left the token. */
  retired: [{ readonly generation: number }]
  /** Anything that failed, whether or not it is tried again. */
  problem: [{ readonly error: LeafkeeperError; readonly during: Effect['kind'] | 'journal' | 'twin' }]
  /** What failed is tried again. */
  retry: [Retry]
  /** The telemetry outbox has room again. */
  drain: []
  /** A call to the token has ended. */
  hsmCall: [HsmCall]
  /** The agent was stopped, and has let go of the token and the state folder. */
  stopped: []
}
