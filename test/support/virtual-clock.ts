import type { Clock } from '../../src/agent/clock.ts'
import type { VirtualTime } from './virtual-time.ts'

/** Virtual time as an agent sees it. */
export function clockOf(time: VirtualTime): Clock {
  return {
    now: () => time.now,
    wakeAt(instant, wake) {
      let cancelled = false
      time.at(instant, () => {
        if (!cancelled) wake()
      })
      return () => {
        cancelled = true
      }
    },
  }
}
