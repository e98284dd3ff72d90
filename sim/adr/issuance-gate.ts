import { Alarms } from '../hub/alarms.ts'

/** What holds up the certificates that DPS issues, when a fault asks for it. */
export class IssuanceGate {
  /** How long an issue takes. */
  delayMs = 0
  readonly #alarms: Alarms
  readonly #now: () => number
  readonly #stuck = new Set<() => void>()
  #stickNext = 0

  /** @param now - milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now
    this.#alarms = new Alarms(now)
  }

  /** Holds the next issues until `release`. */
  stick(times: number): void {
    this.#stickNext = times
  }

  /** Lets go on what is held, and holds nothing more. */
  release(): void {
    this.#stickNext = 0
    for (const goOn of this.#stuck) goOn()
    this.#stuck.clear()
  }

  /** Resolves when it is this turn. */
  async pass(): Promise<void> {
    if (this.#stickNext > 0) {
      this.#stickNext -= 1
      await new Promise<void>((goOn) => this.#stuck.add(goOn))
    }
    if (this.delayMs > 0) {
      await new Promise<void>((goOn) => this.#alarms.at(this.#now() + this.delayMs, goOn))
    }
  }

  /** To be called when an injected clock has jumped. */
  clockChanged(): void {
    this.#alarms.clockChanged()
  }

  /** Forgets whatever waits. */
  close(): void {
    this.#alarms.close()
    this.#stuck.clear()
  }
}
