import type { ErrorCode } from '../error-table.ts'
import type {
  Assignment,
  CertificateFacts,
  Generation,
  Instant,
  Operation,
  Policy,
  RollKeyType,
  RollMode,
  RollWindow,
} from './states.ts'

/** Why an effect failed, as far as the machine needs to know. */
export interface Failure {
  readonly code: ErrorCode
  readonly retryable: boolean
  /** How long the other side asked to wait, in milliseconds. */
  readonly retryAfterMs: number | null
}

/** A generation as it was found on the token at start. */
export type FoundGeneration = Pick<Generation, 'number' | 'keyId' | 'certificate'> & {
  readonly hasKey: boolean
}

/** What happened, without the time. */
export type Occurrence =
  | {
      readonly kind: 'started'
      readonly policy: Policy
      readonly commonName: string
      /** What the token really holds. */
      readonly found: readonly FoundGeneration[]
      /** The hub of a device without DPS. */
      readonly fixedAssignment: Assignment | null
      /** How the first key is made where the token holds none; `null` without an issuer. */
      readonly bootstrap: { readonly keyType: RollKeyType; readonly requestId: string } | null
    }
  | { readonly kind: 'stopRequested' }
  /** The disk refuses records, or takes them again. */
  | { readonly kind: 'journalChecked'; readonly writable: boolean }
  /** The instant asked for by `wakeAt` has come, or the runner looks again. */
  | { readonly kind: 'woken' }
  | {
      readonly kind: 'rollRequested'
      readonly mode: Exclude<RollMode, 'bootstrap'>
      readonly keyType: RollKeyType
      readonly requestId: string
    }
  | { readonly kind: 'reprovisionRequested' }
  /** The cloud has named when to roll, or its twin has no window any more. The same window again changes nothing. */
  | { readonly kind: 'rollWindowNamed'; readonly window: RollWindow | null }
  // Results of effects
  | {
      readonly kind: 'keyGenerated'
      readonly operation: Operation
      readonly generation: number
      readonly keyId: string
    }
  | {
      readonly kind: 'certificateIssued'
      readonly operation: Operation
      readonly chain: string
      readonly certificate: CertificateFacts
    }
  | {
      readonly kind: 'certificatePending'
      readonly operation: Operation
      readonly ticket: string
      readonly retryAfterMs: number
    }
  /** A chain was brought to the agent, whatever its issuer is doing; it was checked as one that was asked for. */
  | {
      readonly kind: 'certificateDelivered'
      readonly generation: number
      readonly chain: string
      readonly certificate: CertificateFacts
    }
  | { readonly kind: 'certificateStored'; readonly operation: Operation }
  | { readonly kind: 'registered'; readonly operation: Operation; readonly assignment: Assignment }
  | { readonly kind: 'hubConnected'; readonly operation: Operation }
  | { readonly kind: 'generationDestroyed'; readonly operation: Operation }
  | { readonly kind: 'operationFailed'; readonly operation: Operation; readonly failure: Failure }
  /** A connection that was up has ended. */
  | { readonly kind: 'hubDisconnected'; readonly operation: Operation; readonly failure: Failure }

/** An occurrence with the two things a pure function cannot get by itself. */
export type AgentEvent = Occurrence & {
  readonly at: Instant
  /** A random number from 0 up to, not including, 1. */
  readonly entropy: number
}
