import { describe, expect, it } from 'vitest'
import { step } from '../../src/agent/machine.ts'
import type { Step } from './agent-model.ts'
import { explore, sizeOf, withDps } from './exploration.ts'

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

  it('is told as a story where the machine moves its pointer before a hub has accepted the generation', () => {
    const hasty: Step = (before, event) => {
      const { state, effects } = step(before, event)
      return state.roll.phase === 'switching'
        ? { state: { ...state, active: state.roll.plan.generation }, effects }
        : { state, effects }
    }
    const { violation } = explore({ budget: { rolls: 1, crashes: 0, faults: 0 }, machine: hasty })
    expect(violation).toMatch(/^I2: the pointer moved to #2/)
    expect(violation).toMatch(/^ +1\. a new device starts/m)
  })
})
