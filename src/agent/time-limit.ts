import type { Clock } from './clock.ts'

/** A limit in time on work that looks at a signal. */
export interface TimeLimit {
  /** Aborted with the reason of the outer signal, or with the error of the limit, whichever comes first. */
  readonly signal: AbortSignal
  /** To be called when the work is over: nothing is left on the clock or on the outer signal. */
  readonly release: () => void
}

/** Limits work to so many milliseconds of the agent's clock, and to the life of an outer signal. */
export function timeLimit(outer: AbortSignal, clock: Clock, ms: number, late: () => Error): TimeLimit {
  const controller = new AbortController()
  const giveUp = (): void => controller.abort(outer.reason)
  if (outer.aborted) giveUp()
  outer.addEventListener('abort', giveUp, { once: true })
  const cancel = clock.wakeAt(clock.now() + ms, () => controller.abort(late()))
  return {
    signal: controller.signal,
    release: () => {
      outer.removeEventListener('abort', giveUp)
      cancel()
    },
  }
}
