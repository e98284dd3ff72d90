import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { journalVersion } from '../../src/agent/journal-format.ts'
import { contentsOf, fileJournal } from '../../src/agent/journal.ts'
import { Runner } from '../../src/agent/runner.ts'
import type { AgentState } from '../../src/agent/states.ts'
import { dpsPolicy, DrivenMachine, failure } from '../support/machine.ts'
import {
  connected,
  requesting,
  retiring,
  stagedAfterRefusal,
  storing,
  switching,
} from '../support/machine-stages.ts'

/**
 * Journals as each version has written them, at each stage of a roll. They are never written again: whoever changes the
 * format or the shape of the state raises `journalVersion`, adds a reader, and runs this file once with
 * LEAFKEEPER_GOLDEN=write, which adds the files of the new version.
 */
const folder = join(import.meta.dirname, 'journals')

const stages: Record<string, () => DrivenMachine> = {
  connected,
  generating: () => connected().roll(),
  requesting,
  pending: () => {
    const machine = requesting()
    const { operation } = machine.take('requestCertificate')
    return machine.send({
      kind: 'certificatePending',
      operation,
      ticket: 'ticket-1',
      retryAfterMs: 60_000,
    })
  },
  storing,
  staged: stagedAfterRefusal,
  switching,
  overlap: retiring,
  breach: () => connected().roll('breach').generated().issued().stored().registered().hubConnected(),
  failed: () => requesting().fails('requestCertificate', failure('ISSUER_REFUSED')),
}

/** What a journal is for. */
function facts({ commonName, generations, active, nextGeneration, assignment, roll }: AgentState): object {
  return {
    commonName,
    active,
    nextGeneration,
    assignment,
    generations,
    phase: roll.phase,
    plan: 'plan' in roll ? roll.plan : null,
    ticket: 'ticket' in roll ? roll.ticket : null,
    chain: 'chain' in roll ? roll.chain : null,
  }
}

function restored(file: string): AgentState {
  const { state } = contentsOf(file, readFileSync(join(folder, file)))
  if (state === null) throw new Error(`${file} holds no state`)
  return state
}

const current = Object.keys(stages).map((stage) => ({ stage, file: `v${journalVersion}-${stage}.journal` }))
for (const { stage, file } of current)
  if (process.env['LEAFKEEPER_GOLDEN'] === 'write' && !existsSync(join(folder, file)))
    await write(stage, file)
const files = readdirSync(folder).filter((name) => name.endsWith('.journal'))

describe('a journal of', () => {
  it('the present version is kept for each stage, and of each older one', () => {
    expect(files).toEqual(expect.arrayContaining(current.map(({ file }) => file)))
    const versions = new Set(files.map((name) => Number(/^v(\d+)-/.exec(name)?.[1])))
    expect([...versions].sort()).toEqual(Array.from({ length: journalVersion }, (_, index) => index + 1))
  })

  it.each(files)('%s is read', (file) => {
    const [, stage = ''] = /^v\d+-(\w+)\.journal$/.exec(file) ?? []
    const expected = (stages[stage === 'compacted' ? 'overlap' : stage] ?? connected)()
    expect(facts(restored(file))).toEqual(facts(expected.state))
    // Nothing that the present version relies on is missing.
    expect(Object.keys(restored(file)).sort()).toEqual(Object.keys(expected.state).sort())
    expect(Object.keys(restored(file).policy).sort()).toEqual(Object.keys(dpsPolicy).sort())
  })

  it.each(files)('%s is gone on with, to a device that is connected and rolls', (file) => {
    const machine = new DrivenMachine()
    machine.state = restored(file)
    machine.at = 2_000_000
    const { active } = machine.state
    machine.start(machine.found())
    expect(machine.state.active).toBe(active)
    settle(machine)
    const newest = Math.max(...machine.state.generations.map((g) => g.number))
    expect(machine.state).toMatchObject({ active: newest, connection: { phase: 'connected' } })
    machine.roll('expiry', 'once more')
    settle(machine)
    expect(machine.state.active).toBeGreaterThan(newest)
  })
})

/** Everything succeeds, and time passes, until only an overlap or nothing is left. */
function settle(machine: DrivenMachine): void {
  for (let effects = 0; effects < 100; effects += 1) {
    const [next] = machine.open
    const { roll, connection } = machine.state
    if (next === undefined) {
      if (connection.phase === 'connected' && roll.phase !== 'staged' && roll.phase !== 'requesting') return
      machine.wake()
    } else machine.succeeds(next.kind)
  }
  throw new Error(`never settles: ${machine.phases}`)
}

/** Writes a journal as an agent does that comes to this stage. */
async function write(stage: string, file: string): Promise<void> {
  const sent = vi.spyOn(DrivenMachine.prototype, 'send')
  const { at, entropy } = stages[stage]?.() ?? new DrivenMachine()
  const occurrences = sent.mock.calls.map(([occurrence]) => occurrence)
  sent.mockRestore()
  const work = mkdtempSync(join(tmpdir(), 'leafkeeper-golden-'))
  const journal = fileJournal(work, { lock: () => Promise.resolve(() => Promise.resolve()) })
  const runner = new Runner(
    {
      journal,
      clock: { now: () => at, wakeAt: () => () => undefined },
      random: () => entropy,
      perform: () => new Promise(() => undefined),
      observe: () => undefined,
      journalFailed: (error) => {
        throw error
      },
    },
    dpsPolicy,
    'gateway-7',
  )
  await runner.restore()
  for (const occurrence of occurrences) await runner.dispatch(occurrence)
  await journal.close()
  copyFileSync(join(work, 'journal'), join(folder, file))
  rmSync(work, { recursive: true })
}
