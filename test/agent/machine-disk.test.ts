import { describe, expect, it } from 'vitest'
import { type DrivenMachine, failure } from '../support/machine.ts'
import {
  connected,
  fresh,
  proving,
  requesting,
  retiring,
  stagedAfterRefusal,
  storing,
  switching,
} from '../support/machine-stages.ts'

const stages: [string, () => DrivenMachine][] = [
  ['at its first start', () => fresh().start()],
  ['while connected', connected],
  ['while it makes a key', () => connected().roll()],
  ['while it waits for a certificate', requesting],
  ['while it stores it', storing],
  ['while it is staged', stagedAfterRefusal],
  ['while it asks DPS', proving],
  ['while it switches', switching],
  ['while an old generation waits to leave', retiring],
  ['while a breach ends', () => switching().roll('breach')],
]

/** What a restart would have to know of. */
const risky = new Set(['generateKey', 'requestCertificate', 'storeCertificate', 'destroyGeneration'])

describe('on a disk that takes no records the machine', () => {
  it.each(stages)('begins nothing risky, %s', (_stage, given) => {
    const machine = given().send({ kind: 'journalChecked', writable: false })
    const before = new Set(machine.open)
    machine.roll().roll('breach').send({ kind: 'reprovisionRequested' })
    // Everything that was under way succeeds, and a long time passes.
    for (let turn = 0; turn < 50; turn += 1) {
      const [effect] = machine.open
      if (effect === undefined) {
        if (machine.state.wakeAt === null) break
        machine.wake()
        continue
      }
      expect(before.has(effect) || !risky.has(effect.kind), effect.kind).toBe(true)
      machine.succeeds(effect.kind)
    }
    if (machine.state.active === null) return
    expect(machine.state.connection.phase).toBe('connected')
    // And the connection comes back when it is lost.
    machine.disconnected().wake().hubConnected()
    expect(machine.state.connection.phase).toBe('connected')
  })

  it.each(stages)('restarts to the same, %s', (_stage, given) => {
    const machine = given().send({ kind: 'journalChecked', writable: false })
    machine.start(machine.found())
    expect(machine.open.filter(({ kind }) => risky.has(kind))).toEqual([])
    machine.send({ kind: 'journalChecked', writable: true })
    const { roll } = machine.state
    if (roll.phase === 'generating' || roll.phase === 'requesting' || roll.phase === 'storing')
      expect(machine.open.filter(({ kind }) => risky.has(kind))).not.toEqual([])
  })

  it('goes on where it was as soon as the disk takes records again', () => {
    const machine = connected().send({ kind: 'journalChecked', writable: false }).roll()
    expect(machine.effects).toEqual([])
    machine.send({ kind: 'journalChecked', writable: true })
    expect(machine.take('generateKey').generation).toBe(2)
  })

  it('begins nothing until it has heard the event that could not be recorded', () => {
    const machine = connected().disconnected()
    const { wakeAt } = machine.state
    if (wakeAt === null) throw new Error('nothing is due')
    machine.at = wakeAt
    machine.send({ kind: 'journalChecked', writable: false })
    expect(machine.effects).toEqual([])
    // The timer still rings, and then the connection is made.
    expect(machine.wake().open).toMatchObject([{ kind: 'connectHub', generation: 1 }])
  })

  it('does not take a refused generation for one that may leave', () => {
    const machine = switching().send({ kind: 'journalChecked', writable: false })
    machine.fails('connectHub', failure('HUB_UNAUTHORIZED'))
    expect(machine.state).toMatchObject({ active: 1, roll: { phase: 'staged' } })
    expect(machine.state.generations.map((g) => g.retireAt)).toEqual([null, null])
  })
})
