import { describe, expect, it } from 'vitest'
import { afterClockChange } from '../../src/agent/step-clock.ts'
import type { DrivenMachine } from '../support/machine.ts'
import { everyStage } from '../support/every-stage.ts'
import { connected, network } from '../support/machine-stages.ts'

const year = 365 * 24 * 60 * 60 * 1_000

/** The members of the state that are instants to be waited for, or measured from. */
const moving = new Set(['lastAt', 'wakeAt', 'until', 'since', 'retryAt', 'proveAt', 'retireAt', 'lastRollAt'])

/** The same, with every such instant earlier; what was written down, as the beginning of a roll, stays. */
function earlier<T>(state: T, ms: number): T {
  return JSON.parse(JSON.stringify(state), (name, value: unknown) =>
    moving.has(name) && typeof value === 'number' ? value - ms : value,
  ) as T
}

describe('a clock that is set back', () => {
  it.each(everyStage)('takes every deadline with it, and nothing else: %s', (_stage, given) => {
    const { state, at } = given()
    expect(afterClockChange(state, at - year)).toEqual({ ...earlier(state, year), lastAt: at - year })
  })

  it('changes nothing of what was due in a second', () => {
    const machine = waiting()
    const delay = (machine.state.wakeAt ?? 0) - machine.at
    machine.at -= year
    machine.send({ kind: 'woken' })
    expect((machine.state.wakeAt ?? 0) - machine.at).toBe(delay)
    expect(machine.wake().open).toMatchObject([{ kind: 'connectHub' }])
  })

  it('leaves the timer that is running as it is: that counts the time that passes', () => {
    const machine = waiting()
    machine.at -= year
    expect(machine.send({ kind: 'journalChecked', writable: true }).effects).toEqual([])
  })
})

describe('a clock that goes on, or is set forward', () => {
  it.each(everyStage)('moves no deadline: %s', (_stage, given) => {
    const { state, at } = given()
    expect(afterClockChange(state, at + year)).toEqual({ ...state, lastAt: at + year })
  })

  it('makes what waits due', () => {
    const machine = waiting()
    machine.at += 10 * year
    expect(machine.send({ kind: 'woken' }).open).toMatchObject([{ kind: 'connectHub' }])
  })
})

function waiting(): DrivenMachine {
  return connected().disconnected().wake().fails('connectHub', network)
}
