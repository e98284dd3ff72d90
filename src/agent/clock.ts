import type { Instant } from './states.ts'

/** Time as the agent sees it; tests and simulations pass their own. */
export interface Clock {
  /** Milliseconds since 1970-01-01T00:00:00Z. */
  now(): Instant
  /** Calls `wake` once, at or soon after the instant; the returned function cancels it. */
  wakeAt(instant: Instant, wake: () => void): () => void
}

/**
 * No timer runs longer than this, in milliseconds: the wall clock is looked at again in between, because it can be set,
 * because timers stand still while the machine sleeps, and because Node's own end at 2^31 ms.
 */
const longestNap = 60_000

/** The clock of the operating system. Its timers keep the process alive. */
export const systemClock: Clock = {
  now: () => Date.now(),
  wakeAt(instant, wake) {
    let timer: NodeJS.Timeout
    const nap = (): void => {
      const left = instant - Date.now()
      if (left <= 0) wake()
      else timer = setTimeout(nap, Math.min(left, longestNap))
    }
    timer = setTimeout(nap, Math.max(0, Math.min(instant - Date.now(), longestNap)))
    return () => {
      clearTimeout(timer)
    }
  },
}
