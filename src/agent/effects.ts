import type { Assignment, Instant, Operation, RollKeyType, RollMode } from './states.ts'

/**
 * What the runner has to do. Each effect with an `operation` ends in exactly one event that carries it; each may be
 * performed again after a crash and then finds its work done.
 */
export type Effect =
  | {
      readonly kind: 'generateKey'
      readonly operation: Operation
      readonly generation: number
      readonly keyType: RollKeyType
    }
  | {
      readonly kind: 'requestCertificate'
      readonly operation: Operation
      readonly generation: number
      /** The generation whose subject and alternative names are kept; `null` for the first one. */
      readonly model: number | null
      readonly ticket: string | null
      readonly requestId: string
      readonly reason: RollMode
    }
  | {
      readonly kind: 'storeCertificate'
      readonly operation: Operation
      readonly generation: number
      readonly chain: string
    }
  | { readonly kind: 'register'; readonly operation: Operation; readonly generation: number }
  /** A hint without a result: open TCP and TLS now, because a `connectHub` with the same values is likely. */
  | { readonly kind: 'prepareHub'; readonly generation: number; readonly assignment: Assignment }
  | {
      readonly kind: 'connectHub'
      readonly operation: Operation
      readonly generation: number
      readonly assignment: Assignment
    }
  /** Ends the connection that the operation made; no result. */
  | { readonly kind: 'closeConnection'; readonly operation: Operation }
  | { readonly kind: 'destroyGeneration'; readonly operation: Operation; readonly generation: number }
  /** Replaces the one timer; `null` clears it. */
  | { readonly kind: 'wakeAt'; readonly at: Instant | null }
  /** Gives up everything under way; results that still come are stale. */
  | { readonly kind: 'abandonAll' }
