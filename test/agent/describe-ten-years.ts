import { describe, expect, it } from 'vitest'
import { day, hour, LongLife, year } from './long-life.ts'

const month = 30 * day
/** Trouble of up to 36 hours begins on the first days of a month only: the last four days have to be in order. */
const troubledDays = 25

/** One day's trouble, as chance has it. */
function trouble(life: LongLife): void {
  if (life.chance(7)) life.outage(['hub'], life.between(hour / 60, 12 * hour))
  if (life.chance(7)) life.outage(['dps'], life.between(hour / 60, 12 * hour))
  if (life.chance(5)) life.outage(['issuer'], life.between(hour, 36 * hour))
  if (life.chance(10)) life.outage(['hub', 'dps', 'issuer'], life.between(hour / 60, 24 * hour))
  if (life.chance(15)) life.loseRecord()
  if (life.chance(20)) life.powerOff(life.between(0, 24 * hour))
  if (life.chance(20)) {
    const jump = [hour, -hour, 10 * year, -10 * year][Math.floor(life.between(0, 4))] ?? hour
    life.setClockWrong(jump, life.between(0, 6 * hour))
  }
}

/** Registers the tests of one device's ten years; the same seed makes the same years. */
export function describeTenYears(seed: number): void {
  describe(`ten years of daily rolls, outages, power cuts and clocks that are set (seed ${seed})`, () => {
    const life = new LongLife(seed)
    const begun = life.time.now
    const days = Math.floor((10 * year) / day)

    it('is connected with a fresh certificate at the end of every month', { timeout: 60_000 }, () => {
      for (let passed = 0; passed < days; passed += 1) {
        const today = passed * day
        life.time.at(begun + today + life.between(0, day), () => life.roll())
        if ((today % month) / day < troubledDays)
          life.time.at(begun + today + life.between(0, day), () => trouble(life))
        life.time.runUntil(begun + today + day)
        if ((today + day) % month > 0) continue
        const { active } = life.machine.state
        const certificate = active === null ? null : life.token.get(active)
        expect(life.isConnected).toBe(true)
        expect(life.wrongBy).toBe(0)
        expect(life.time.now - (certificate?.notBefore ?? 0)).toBeLessThan(2 * day)
      }
    })

    it('has rolled nearly every day, and was connected nearly always', () => {
      expect(life.rolled).toBeGreaterThan(days * 0.8)
      expect(life.connectedMs).toBeGreaterThan((life.time.now - begun) * 0.9)
    })

    it('has asked DPS seldom, and has taken few steps', () => {
      expect(life.registrations).toBeLessThan(days * 4)
      expect(life.steps).toBeLessThan(days * 200)
    })

    it('knows no more at the end than at the beginning', () => {
      expect(life.longestState).toBeLessThan(4_096)
    })
  })
}
