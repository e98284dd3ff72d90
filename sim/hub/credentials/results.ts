/** How an operation has ended, as long as its device does not have it: JSON. */
export interface CredentialResult {
  readonly deviceId: string
  readonly topic: string
  readonly body: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
}

/**
 * The ends of operations that wait for their devices: until they are taken, the operation would have expired, or
 * another one begins. A device gets its own when it subscribes, on whichever connection.
 */
export class CredentialResults {
  readonly #results = new Map<string, CredentialResult>()
  /** Milliseconds since 1970. */
  readonly #now: () => number

  constructor(now: () => number) {
    this.#now = now
  }

  keep(result: CredentialResult): void {
    this.#results.set(result.deviceId, result)
  }

  /** What waits for a device. */
  get(deviceId: string): CredentialResult | undefined {
    const result = this.#results.get(deviceId)
    return result === undefined || result.expiresAt <= this.#now() ? undefined : result
  }

  /** Forgets a result that the device has; a later one stays. */
  take(result: CredentialResult): void {
    if (this.#results.get(result.deviceId) === result) this.#results.delete(result.deviceId)
  }

  delete(deviceId: string): void {
    this.#results.delete(deviceId)
  }

  snapshot(): readonly CredentialResult[] {
    return [...this.#results.values()]
  }

  restore(results: readonly CredentialResult[]): void {
    this.#results.clear()
    for (const result of results) this.keep(result)
  }
}
