import { describe, expect, it } from 'vitest'
import { dpsPolicy } from '../support/machine.ts'
import { Fleet } from './fleet-model.ts'

const minute = 60_000
/** What one DPS takes from all its devices in a minute, by the service's published limits. */
const quota = 1_000

/**
 * Every device loses its hub in the same instant, and the hub knows none of them any more: the pure machine, on a
 * virtual clock, with no I/O.
 */
describe.each([1, 2, 3])('a fleet that loses its hub at once (seed %i)', (seed) => {
  it('500 devices: DPS is asked within its quota in every sliding minute, and all are back in one', () => {
    const fleet = new Fleet(500, dpsPolicy, { quota, seed })
    expect(fleet.connected).toBe(500)
    fleet.loseHub()
    expect(fleet.connected).toBe(0)
    fleet.time.runUntil(fleet.time.now + minute)
    expect(fleet.connected).toBe(500)
    expect(fleet.registrations).toHaveLength(500)
    expect(fleet.throttled).toBe(0)
  })

  it('500 devices stay within the quota also while DPS fails, and are back within half an hour', () => {
    const fleet = new Fleet(500, dpsPolicy, { quota, seed })
    fleet.loseHub()
    fleet.mood = 'fails'
    fleet.time.runUntil(fleet.time.now + 20 * minute)
    expect(fleet.connected).toBe(0)
    fleet.mood = 'serves'
    fleet.time.runUntil(fleet.time.now + 30 * minute)
    expect(fleet.connected).toBe(500)
    expect(fleet.busiestMinute()).toBeLessThan(quota)
    expect(fleet.throttled).toBe(0)
  })

  it('2,000 devices stay within the quota with the pause that a fleet of that size is given', () => {
    const debounce = { ...dpsPolicy.debounce, baseMs: 4 * minute }
    const fleet = new Fleet(2_000, { ...dpsPolicy, debounce }, { quota, seed })
    fleet.loseHub()
    fleet.time.runUntil(fleet.time.now + 6 * minute)
    expect(fleet.connected).toBe(2_000)
    expect(fleet.busiestMinute()).toBeLessThan(quota)
    expect(fleet.throttled).toBe(0)
  })

  it('2,000 devices that nobody has told of their number come back too, as DPS lets them', () => {
    const fleet = new Fleet(2_000, dpsPolicy, { quota, seed })
    fleet.loseHub()
    fleet.time.runUntil(fleet.time.now + 15 * minute)
    expect(fleet.connected).toBe(2_000)
    // Those it could not serve did what it asked: they did not come before the minute was over, nor all at once then.
    expect(fleet.throttled).toBeLessThan(1_500)
    expect(fleet.registrations.length).toBe(2_000 + fleet.throttled)
  })
})

it('the busiest minute is the busiest of all sliding ones', () => {
  const fleet = new Fleet(1, dpsPolicy)
  fleet.registrations.push(0, 30_000, 59_999, 60_000, 89_000, 200_000)
  expect(fleet.busiestMinute()).toBe(4)
})
