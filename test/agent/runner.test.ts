import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/agent/clock.ts'
import type { Effect } from '../../src/agent/effects.ts'
import type { Occurrence } from '../../src/agent/events.ts'
import { memoryJournal, type Journal } from '../../src/agent/journal.ts'
import { Runner } from '../../src/agent/runner.ts'
import type { LeafkeeperError } from '../../src/errors.ts'
import { dpsPolicy, facts, hubA } from '../support/machine.ts'

/** A clock that stands still until the test moves it. */
class ManualClock implements Clock {
  time = 1_000_000
  readonly #alarms = new Set<{ at: number; wake: () => void }>()

  now(): number {
    return this.time
  }

  wakeAt(at: number, wake: () => void): () => void {
    const alarm = { at, wake }
    this.#alarms.add(alarm)
    return () => void this.#alarms.delete(alarm)
  }

  get alarms(): number {
    return this.#alarms.size
  }

  advance(ms: number): void {
    this.time += ms
    for (const alarm of [...this.#alarms])
      if (alarm.at <= this.time) {
        this.#alarms.delete(alarm)
        alarm.wake()
      }
  }
}

const nextTurn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

const started: Occurrence = {
  kind: 'started',
  policy: dpsPolicy,
  commonName: 'gateway-7',
  found: [],
  fixedAssignment: null,
  bootstrap: { keyType: 'EC-P256', requestId: 'first' },
}

interface Harness {
  readonly runner: Runner
  readonly clock: ManualClock
  readonly log: string[]
  readonly failures: LeafkeeperError[]
  /** Answers the oldest effect that is being performed. */
  readonly answer: (result: Occurrence | null) => Promise<void>
}

function harness(journal: Journal = memoryJournal()): Harness {
  const log: string[] = []
  const failures: LeafkeeperError[] = []
  const open: ((result: Occurrence | null) => void)[] = []
  const clock = new ManualClock()
  const logged: Journal = {
    ...journal,
    append: async (event) => {
      await journal.append(event)
      log.push(`journal ${event.kind}`)
    },
  }
  const perform = (effect: Effect): Promise<Occurrence | null> => {
    log.push(`perform ${effect.kind}`)
    return new Promise((resolve) => open.push(resolve))
  }
  const runner = new Runner(
    {
      journal: logged,
      clock,
      random: () => 0.5,
      perform,
      observe: ({ event }) => void log.push(`observe ${event.kind}`),
      journalFailed: (error) => void failures.push(error),
    },
    dpsPolicy,
    'gateway-7',
  )
  return {
    runner,
    clock,
    log,
    failures,
    answer: async (result) => {
      open.shift()?.(result)
      // The result is dispatched in a later turn; a stale event after it waits for its step.
      await Promise.resolve()
      await runner.dispatch({ kind: 'woken' })
    },
  }
}

describe('the runner', () => {
  it('journals before it acts, and feeds results back', async () => {
    const { runner, log, answer } = harness()
    await runner.restore()
    await runner.dispatch(started)
    expect(log).toEqual(['journal started', 'observe started', 'perform generateKey'])
    await answer({ kind: 'keyGenerated', operation: 1, generation: 1, keyId: '01' })
    expect(log.slice(3, 6)).toEqual([
      'journal keyGenerated',
      'observe keyGenerated',
      'perform requestCertificate',
    ])
    expect(runner.state.roll.phase).toBe('requesting')
  })

  it('comes to the same state from its journal', async () => {
    const journal = memoryJournal()
    const first = harness(journal)
    await first.runner.restore()
    await first.runner.dispatch(started)
    await first.answer({ kind: 'keyGenerated', operation: 1, generation: 1, keyId: '01' })
    const second = harness(journal)
    await second.runner.restore()
    expect(second.runner.state).toEqual(first.runner.state)
  })

  it('does nothing that is not in the journal: it waits for the disk and then goes on', async () => {
    const journal = memoryJournal()
    let full = false
    const append: Journal['append'] = (event) =>
      full ? Promise.reject(new Error('ENOSPC')) : journal.append(event)
    const { runner, clock, log, failures } = harness({ ...journal, append })
    await runner.restore()
    full = true
    await runner.dispatch(started)
    expect(failures[0]?.code).toBe('JOURNAL_UNWRITABLE')
    expect(log).toEqual(['observe journalChecked'])
    full = false
    clock.advance(1_000)
    while (log.length < 5) await nextTurn()
    expect(log.slice(1)).toEqual([
      'observe journalChecked',
      'journal started',
      'observe started',
      'perform generateKey',
    ])
  })

  it('keeps the connection up while the disk is full, and records it afterwards', async () => {
    const journal = memoryJournal()
    let full = false
    const append: Journal['append'] = (event) =>
      full ? Promise.reject(new Error('ENOSPC')) : journal.append(event)
    const begin: Journal['begin'] = (state) =>
      full ? Promise.reject(new Error('ENOSPC')) : journal.begin(state)
    const { runner, clock, log } = harness({ ...journal, append, begin })
    await runner.restore()
    const certificate = facts(1)
    await runner.dispatch({
      ...started,
      found: [{ number: 1, keyId: '01', certificate, hasKey: true }],
    })
    await runner.dispatch({ kind: 'registered', operation: 1, assignment: hubA })
    await runner.dispatch({ kind: 'hubConnected', operation: 2 })
    full = true
    await runner.dispatch({ kind: 'rollRequested', mode: 'expiry', keyType: 'EC-P256', requestId: 'r' })
    await runner.dispatch({
      kind: 'hubDisconnected',
      operation: 2,
      failure: { code: 'HUB_CONNECTION_LOST', retryable: true, retryAfterMs: null },
    })
    expect(runner.state.connection.phase).toBe('waiting')
    expect(runner.state.roll.phase).toBe('idle')
    clock.advance((runner.state.wakeAt ?? 0) - clock.time)
    while (runner.state.connection.phase !== 'connecting') await nextTurn()
    expect(log.at(-1)).toBe('perform connectHub')
    expect(log).not.toContain('perform generateKey')

    // The disk takes records again: the journal holds the present state, and the roll that was asked for begins.
    full = false
    clock.advance(1_000)
    while (!log.includes('perform generateKey')) await nextTurn()
    const { state, events } = await journal.read()
    expect(state?.connection.phase).toBe('connecting')
    expect(events.map(({ kind }) => kind)).toContain('rollRequested')
  })

  it('ends although the disk stays full', async () => {
    const journal = memoryJournal()
    const append: Journal['append'] = () => Promise.reject(new Error('ENOSPC'))
    const { runner, clock, failures } = harness({ ...journal, append })
    await runner.restore()
    void runner.dispatch(started)
    while (failures.length < 1) await nextTurn()
    await runner.close()
    expect(clock.alarms).toBe(0)
    expect(runner.state.running).toBe(false)
  })

  it('wakes the machine when it has asked for it, once', async () => {
    const { runner, clock, log, answer } = harness()
    await runner.restore()
    await runner.dispatch(started)
    await answer({
      kind: 'operationFailed',
      operation: 1,
      failure: { code: 'HSM_DEVICE_ERROR', retryable: true, retryAfterMs: null },
    })
    expect(clock.alarms).toBe(1)
    clock.advance((runner.state.wakeAt ?? 0) - clock.time)
    await runner.dispatch({ kind: 'woken' })
    expect(log.filter((line) => line === 'perform generateKey')).toHaveLength(2)
    expect(clock.alarms).toBe(0)
  })

  it('begins the journal anew before it grows large', async () => {
    const journal = memoryJournal()
    let begun = 0
    const begin: Journal['begin'] = (state) => {
      begun += 1
      return journal.begin(state)
    }
    const { runner } = harness({ ...journal, begin })
    await runner.restore()
    await runner.dispatch(started)
    for (let round = 0; round < 600; round += 1) {
      await runner.dispatch({ kind: 'stopRequested' })
      await runner.dispatch(started)
    }
    expect(begun).toBeGreaterThan(1)
    const { state, events } = await journal.read()
    expect(state).not.toBeNull()
    expect(events.length).toBeLessThan(513)
  })
})
