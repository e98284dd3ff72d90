import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/agent/clock.ts'
import type { Effect } from '../../src/agent/effects.ts'
import type { Occurrence } from '../../src/agent/events.ts'
import { memoryJournal, type Journal } from '../../src/agent/journal.ts'
import { Runner } from '../../src/agent/runner.ts'
import { LeafkeeperError } from '../../src/errors.ts'
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

const withGeneration: Occurrence = {
  ...started,
  found: [{ number: 1, keyId: '01', certificate: facts(1), hasKey: true }],
}

/** A journal on a disk that takes nothing while it is full. */
function fillable(code = 'ENOSPC'): { journal: Journal; disk: { isFull: boolean } } {
  const journal = memoryJournal()
  const disk = { isFull: false }
  const full = (): Promise<never> =>
    Promise.reject(new LeafkeeperError('JOURNAL_UNWRITABLE', { reason: code }))
  return {
    disk,
    journal: {
      ...journal,
      append: (event, changes) => (disk.isFull ? full() : journal.append(event, changes)),
      begin: (state) => (disk.isFull ? full() : journal.begin(state)),
    },
  }
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
    append: async (event, changes) => {
      await journal.append(event, changes)
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
    const { journal, disk } = fillable()
    const { runner, clock, log, failures } = harness(journal)
    await runner.restore()
    disk.isFull = true
    await runner.dispatch(started)
    expect(failures).toMatchObject([{ code: 'JOURNAL_UNWRITABLE' }])
    expect(log).toEqual(['observe journalChecked', 'observe started'])
    // It is asked again more and more rarely.
    for (const wait of [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000]) {
      const known = failures.length
      clock.advance(wait - 1)
      await nextTurn()
      expect(failures).toHaveLength(known)
      clock.advance(1)
      while (failures.length === known) await nextTurn()
      await nextTurn()
    }
    disk.isFull = false
    clock.advance(30_000)
    while (log.length < 5) await nextTurn()
    expect(log.slice(2)).toEqual(['journal journalChecked', 'observe journalChecked', 'perform generateKey'])
  })

  it.each(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO'])(
    'starts and connects on a disk that says %s',
    async (code) => {
      const { journal, disk } = fillable(code)
      const before = harness(journal)
      await before.runner.restore()
      await before.runner.dispatch(withGeneration)
      await before.runner.dispatch({ kind: 'registered', operation: 1, assignment: hubA })
      await before.runner.dispatch({ kind: 'hubConnected', operation: 2 })
      await before.runner.dispatch({
        kind: 'rollRequested',
        mode: 'expiry',
        keyType: 'EC-P256',
        requestId: 'r',
      })

      disk.isFull = true
      const { runner, clock, log, failures } = harness(journal)
      await runner.restore()
      await runner.dispatch(withGeneration)
      expect(failures).toMatchObject([{ code: 'JOURNAL_UNWRITABLE', reason: code }])
      expect(log).toEqual(['observe started', 'perform connectHub'])
      disk.isFull = false
      clock.advance(1_000)
      while (!log.includes('perform generateKey')) await nextTurn()
      expect((await journal.read()).state).toEqual(runner.state)
    },
  )

  it('does not start where the journal cannot be written for another reason', async () => {
    const { journal, disk } = fillable('EACCES')
    disk.isFull = true
    await expect(harness(journal).runner.restore()).rejects.toMatchObject({ reason: 'EACCES' })
  })

  it('keeps the connection up while the disk is full, and records it afterwards', async () => {
    const { journal, disk } = fillable()
    const { runner, clock, log } = harness(journal)
    await runner.restore()
    await runner.dispatch(withGeneration)
    await runner.dispatch({ kind: 'registered', operation: 1, assignment: hubA })
    await runner.dispatch({ kind: 'hubConnected', operation: 2 })
    disk.isFull = true
    await runner.dispatch({ kind: 'rollRequested', mode: 'expiry', keyType: 'EC-P256', requestId: 'r' })
    await runner.dispatch({
      kind: 'hubDisconnected',
      operation: 2,
      failure: { code: 'HUB_CONNECTION_LOST', retryable: true, retryAfterMs: null },
    })
    expect(runner.state.connection.phase).toBe('waiting')
    clock.advance((runner.state.wakeAt ?? 0) - clock.time)
    while (runner.state.connection.phase !== 'connecting') await nextTurn()
    expect(log.at(-1)).toBe('perform connectHub')
    expect(log).not.toContain('perform generateKey')

    // The disk takes records again: the journal holds the present state, and the roll that was asked for begins.
    disk.isFull = false
    clock.advance(30_000)
    while (!log.includes('perform generateKey')) await nextTurn()
    const { state } = await journal.read()
    expect(state).toMatchObject({
      connection: { phase: 'connecting' },
      roll: { phase: 'generating', plan: { requestId: 'r' } },
    })
    expect(log.indexOf('journal journalChecked')).toBeLessThan(log.indexOf('perform generateKey'))
  })

  it('follows a switch to its end while the disk is full, and keeps the old generation', async () => {
    const { journal, disk } = fillable()
    const { runner, clock, log } = harness(journal)
    await runner.restore()
    await runner.dispatch(withGeneration)
    await runner.dispatch({ kind: 'registered', operation: 1, assignment: hubA })
    await runner.dispatch({ kind: 'hubConnected', operation: 2 })
    await runner.dispatch({ kind: 'rollRequested', mode: 'breach', keyType: 'EC-P256', requestId: 'r' })
    await runner.dispatch({ kind: 'keyGenerated', operation: 3, generation: 2, keyId: '02' })
    const certificate = facts(2)
    await runner.dispatch({ kind: 'certificateIssued', operation: 4, chain: 'chain', certificate })
    await runner.dispatch({ kind: 'certificateStored', operation: 5 })
    disk.isFull = true
    // DPS has already told the hub: what helps the device now is to be connected, not to wait for a disk.
    await runner.dispatch({ kind: 'registered', operation: 6, assignment: hubA })
    await runner.dispatch({ kind: 'hubConnected', operation: 7 })
    expect(runner.state).toMatchObject({ active: 2, connection: { phase: 'connected', generation: 2 } })
    expect(log).not.toContain('perform destroyGeneration')
    disk.isFull = false
    clock.advance(1_000)
    while (!log.includes('perform destroyGeneration')) await nextTurn()
    expect((await journal.read()).state).toMatchObject({ active: 2 })
  })

  it('ends although the disk stays full', async () => {
    const { journal, disk } = fillable()
    const { runner, clock, failures, answer } = harness(journal)
    await runner.restore()
    disk.isFull = true
    void runner.dispatch(started)
    while (failures.length < 1) await nextTurn()
    await runner.dispatch({ kind: 'stopRequested' })
    await answer(null)
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
