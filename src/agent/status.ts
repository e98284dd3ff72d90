import type { TokenDescription } from '../hsm/key-store.ts'
import type { OwnRoll } from './step-schedule.ts'
import type { Assignment, CertificateFacts, Connection, Roll } from './states.ts'

/** What an agent says of itself at one moment. */
export interface AgentStatus {
  readonly registrationId: string
  readonly connection: Connection['phase']
  readonly roll: Roll['phase']
  readonly assignment: Assignment | null
  readonly active: (CertificateFacts & { readonly generation: number }) | null
  /** Numbers of all generations on the token. */
  readonly generations: readonly number[]
  /** The roll that the agent will begin by itself; `null` where it would not. */
  readonly nextRoll: OwnRoll | null
  readonly token: TokenDescription
  /** Messages that the hub has not acknowledged yet. */
  readonly unacknowledged: number
  /** The last thing that failed since the connection came up. */
  readonly lastError: { readonly code: string; readonly message: string } | null
}
