import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../src/agent/clock.ts'

const second = 1_000
const hour = 3_600 * second
const day = 24 * hour
const year = 365.25 * day

/** The longest that a clock that was set goes unnoticed. */
const nap = 60 * second

const start = Date.parse('2026-11-25T12:00:00Z')

/** An alarm that is set for an instant, and how long it has really taken to ring: by a clock that nobody can set. */
function alarm(at: number): { rangAfter: number | null; readonly cancel: () => void } {
  const asked = performance.now()
  const state = {
    rangAfter: null as number | null,
    cancel: systemClock.wakeAt(at, () => {
      state.rangAfter = performance.now() - asked
    }),
  }
  return state
}

beforeEach(() => {
  vi.useFakeTimers({ now: start, toFake: ['Date', 'performance', 'setTimeout', 'clearTimeout'] })
})
afterEach(() => {
  vi.useRealTimers()
})

describe('an alarm of the system clock', () => {
  it.each([
    ['in a second', second],
    ['in a day', day],
    ['at the end of the timers of Node (2^31 ms)', 2 ** 31],
    ['behind it, in 60 days', 60 * day],
    ['in the past, which is now', -hour],
  ])('%s rings on time, once', (_what, delay) => {
    const set = alarm(start + delay)
    const expected = Math.max(delay, 0)
    vi.advanceTimersByTime(Math.max(expected - 1, 0))
    if (expected > 0) expect(set.rangAfter).toBeNull()
    vi.advanceTimersByTime(1)
    expect(set.rangAfter).toBe(expected)
    set.rangAfter = null
    vi.advanceTimersByTime(day)
    expect(set.rangAfter).toBeNull()
    expect(vi.getTimerCount()).toBe(0)
  })

  it.each([
    ['an hour', hour],
    ['ten years', 10 * year],
  ])('is not put off by a clock that is set back by %s', (_what, jump) => {
    const set = alarm(start + 2 * hour)
    vi.advanceTimersByTime(hour)
    vi.setSystemTime(Date.now() - jump)
    vi.advanceTimersByTime(hour - 1)
    expect(set.rangAfter).toBeNull()
    vi.advanceTimersByTime(1)
    expect(set.rangAfter).toBe(2 * hour)
  })

  it.each([
    ['an hour', hour],
    ['ten years', 10 * year],
    // While the machine sleeps its timers stand still, and the wall clock does not.
    ['a week, asleep', 7 * day],
  ])('rings soon after a clock that is %s ahead has passed it', (_what, jump) => {
    const set = alarm(start + hour)
    vi.advanceTimersByTime(second)
    vi.setSystemTime(Date.now() + jump)
    vi.advanceTimersByTime(nap)
    expect(set.rangAfter).toBeLessThanOrEqual(nap + second)
  })

  it('sleeps on where a jump has not reached it', () => {
    const set = alarm(start + 3 * hour)
    vi.setSystemTime(Date.now() + hour)
    vi.advanceTimersByTime(2 * hour - 1)
    expect(set.rangAfter).toBeNull()
    vi.advanceTimersByTime(1)
    expect(set.rangAfter).toBe(2 * hour)
  })

  it.each([
    ['at once', 0],
    ['between two naps', 90 * second],
  ])('that is cancelled %s does not ring, and leaves no timer', (_what, later) => {
    const set = alarm(start + hour)
    vi.advanceTimersByTime(later)
    set.cancel()
    expect(vi.getTimerCount()).toBe(0)
    vi.advanceTimersByTime(day)
    expect(set.rangAfter).toBeNull()
  })

  it('tells the time of the wall', () => {
    expect(systemClock.now()).toBe(start)
  })
})
