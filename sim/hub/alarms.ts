// The longest delay that setTimeout keeps; a longer one would fire at once.
const longestDelay = 2 ** 31 - 1

interface Alarm {
  readonly at: number
  readonly act: () => void
  timer: NodeJS.Timeout | undefined
}

/**
 * What is to happen at an instant of the services' own clock, however far away, and not before.
 *
 * When a test makes its injected clock jump, it calls `clockChanged`, and whatever has become due happens at once.
 */
export class Alarms {
  readonly #now: () => number
  readonly #alarms = new Set<Alarm>()

  /** @param now - milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now
  }

  /** How many are set. */
  get size(): number {
    return this.#alarms.size
  }

  /** Calls `act` once, at the instant or later, never at once. @returns what takes it back */
  at(instant: number, act: () => void): () => void {
    const alarm: Alarm = { at: instant, act, timer: undefined }
    this.#alarms.add(alarm)
    this.#arm(alarm)
    return () => this.#remove(alarm)
  }

  /** Looks at the clock again, earliest alarm first. */
  clockChanged(): void {
    for (const alarm of [...this.#alarms].sort((a, b) => a.at - b.at)) {
      if (this.#alarms.has(alarm)) this.#look(alarm)
    }
  }

  /** Takes everything back. */
  close(): void {
    for (const alarm of this.#alarms) this.#remove(alarm)
  }

  #arm(alarm: Alarm): void {
    clearTimeout(alarm.timer)
    const delay = Math.min(Math.max(alarm.at - this.#now(), 0), longestDelay)
    alarm.timer = setTimeout(() => this.#look(alarm), delay)
  }

  #look(alarm: Alarm): void {
    if (alarm.at > this.#now()) {
      this.#arm(alarm)
      return
    }
    this.#remove(alarm)
    alarm.act()
  }

  #remove(alarm: Alarm): void {
    clearTimeout(alarm.timer)
    this.#alarms.delete(alarm)
  }
}
