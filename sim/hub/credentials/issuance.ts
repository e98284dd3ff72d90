import { Next } from '../../faults/next.ts'

/** What can go wrong with one request for a certificate. */
export type IssuanceFault =
  /** Refused at once. */
  | {
      readonly kind: 'refuse'
      readonly errorCode: 429002 | 429003 | 500001 | 503001
      readonly retryAfterSeconds?: number
    }
  /** Taken (202), and refused when it is its turn. */
  | { readonly kind: 'reject'; readonly errorCode: 400037 | 400040; readonly credentialError: string }
  /** Taken, and answered only after so long. */
  | { readonly kind: 'delay'; readonly delayMs: number }
  /** Taken, and not answered until `releaseStuck` is called. */
  | { readonly kind: 'stick' }

/** How a hub issues certificates: what a test or an operator can turn. */
export class IssuanceControl {
  /** How long an issue takes. */
  delayMs = 0
  /** How long an operation may take in all before it is given up. */
  lifetimeMs = 12 * 60 * 60 * 1000
  /** How many requests a device may make in a minute; beyond, 429002. */
  requestsPerMinute = Infinity
  /** How many operations the hub has open at a time; beyond, 429003. */
  openOperations = Infinity
  /** What the next requests meet with. */
  readonly faults = new Next<IssuanceFault>()
}
