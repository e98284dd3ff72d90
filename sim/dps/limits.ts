import { ServiceError } from '../errors.ts'

/** What one DPS takes; Azure's own numbers depend on the subscription. Everything is unlimited by default. */
export interface ProvisioningLimits {
  /** Individual enrollments. */
  readonly enrollments?: number
  readonly groups?: number
  /** Registrations and polls of all devices in a minute. */
  readonly deviceRequestsPerMinute?: number
  /** Calls of the service API in a minute. */
  readonly serviceRequestsPerMinute?: number
}

const minute = 60_000

/** Counts requests in each minute, and refuses those above a limit. */
export class RateLimit {
  readonly #now: () => number
  readonly #limit: () => number | undefined
  #window = 0
  #count = 0

  /** @param now - milliseconds since 1970 */
  constructor(now: () => number, limit: () => number | undefined) {
    this.#now = now
    this.#limit = limit
  }

  /** @throws ServiceError 429 that says when to come back */
  take(): void {
    const now = this.#now()
    const window = Math.floor(now / minute)
    if (window !== this.#window) this.#count = 0
    this.#window = window
    this.#count += 1
    if (this.#count <= (this.#limit() ?? Infinity)) return
    const seconds = Math.ceil(((window + 1) * minute - now) / 1000)
    throw new ServiceError(429, 429001, 'Throttling: too many requests in this minute.', seconds)
  }
}
