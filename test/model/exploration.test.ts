import { describe, expect, it } from 'vitest'
import { brokenMachines } from './broken-machines.ts'
import { explore, rules, sizeOf, withDps } from './exploration.ts'

const budget = { rolls: 1, crashes: 1, faults: 1 }

describe('everything that can happen to a device in one roll, one crash and one fault', () => {
  it.each([
    ['with DPS', withDps],
    ['with DPS, where hubs go by the authority', { dps: true, byAuthority: true }],
    ['without DPS', { dps: false, byAuthority: true }],
  ])('%s, keeps the invariants and leads back to its hub', (name, cloud) => {
    const found = explore({ budget, cloud })
    console.info(`${name}: ${sizeOf(budget, found)}`)
    expect(found.violation).toBeNull()
    expect(found.worlds).toBeGreaterThan(1_000)
  })
})

describe('a machine that', () => {
  it.each(brokenMachines.map((broken) => [broken.mistake, broken.breaks, broken] as const))(
    '%s breaks %s, and nothing else',
    (_mistake, breaks, { told, budget: least, machine }) => {
      const { violation, violated } = explore({ budget: least, machine })
      expect(violation).toMatch(told)
      expect(violated).toEqual([breaks])
      expect(violation).toMatch(/^ +1\. a new device starts/m)
    },
  )

  it('is broken on purpose is there for every rule', () => {
    expect(new Set(brokenMachines.map(({ breaks }) => breaks))).toEqual(new Set(rules))
  })
})
