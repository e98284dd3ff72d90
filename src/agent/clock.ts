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

/**
 * The clock of the operating system. Its timers keep the process alive. They wake when the instant has come or when
 * the time until it has passed, whichever is first: a wall clock that is set back must not put an alarm off.
 */
export const systemClock: Clock = {
  now: () => Date.now(),
  wakeAt(instant, wake) {
    const latest = performance.now() + (instant - Date.now())
    const left = (): number => Math.min(instant - Date.now(), latest - performance.now())
    let timer: NodeJS.Timeout
    const nap = (): void => {
      timer = setTimeout(() => (left() <= 0 ? wake() : nap()), Math.min(Math.max(left(), 0), longestNap))
    }
    nap()
    return () => {
      clearTimeout(timer)
    }
  },
}
