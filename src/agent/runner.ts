import { randomUUID } from 'node:crypto'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { Clock } from './clock.ts'
import type { Effect } from './effects.ts'
import type { AgentEvent, Occurrence } from './events.ts'
import { isDiskUnwritable, journalOfOtherDevice } from './journal-errors.ts'
import type { Journal, JournalContents } from './journal.ts'
import { initialState, step } from './machine.ts'
import type { AgentState, Policy } from './states.ts'

/** Performs one effect; resolves with the event it ends in, or with `null` where an effect has none. */
export type Perform = (effect: Effect, state: AgentState) => Promise<Occurrence | null>

/** What the runner needs from outside. */
export interface RunnerParts {
  readonly journal: Journal
  readonly clock: Clock
  /** A random number from 0 up to, not including, 1. */
  readonly random: () => number
  readonly perform: Perform
  /** Told of every step once it is in the journal; must not throw. */
  readonly observe: (step: ObservedStep) => void
  /** Told when the journal cannot be written; the step waits until it can. */
  readonly journalFailed: (error: LeafkeeperError) => void
}

/** One step of the machine, as it happened. */
export interface ObservedStep {
  readonly before: AgentState
  readonly event: AgentEvent
  readonly after: AgentState
}

/** How long the runner waits before it writes to a full or read-only disk again, in milliseconds; it doubles up to the last. */
const journalRetryMs = { first: 1_000, last: 30_000 }

/** After so many records the journal begins anew with the present state, so that it stays small. */
const recordsUntilCompaction = 512

/**
 * Runs the machine: one event at a time, first into the journal, then its effects. Effects run side by side, and
 * what they end in comes back as events.
 *
 * While the journal cannot be written the machine begins nothing that a restart has to know of: no key, no
 * certificate, no proof, no destruction. What the connection needs goes on, and so does the state in memory; a crash
 * meanwhile goes back to an older journal, which a start mends. When the disk takes records again, the journal begins
 * anew with the present state.
 */
export class Runner {
  readonly #parts: RunnerParts
  #state: AgentState
  #last: Promise<void> = Promise.resolve()
  #cancelWake: () => void = () => undefined
  #cancelRetry: () => void = () => undefined
  readonly #performing = new Set<Promise<void>>()
  #closing = false
  #recordsSinceBegin = 0
  #journalRetryMs = journalRetryMs.first

  constructor(parts: RunnerParts, policy: Policy, commonName: string) {
    this.#parts = parts
    this.#state = initialState(policy, commonName)
  }

  /** The state after the last step. */
  get state(): AgentState {
    return this.#state
  }

  /**
   * Reads the journal and makes it begin with the state it ends in. A disk that takes no records is no obstacle.
   *
   * @returns what was read
   * @throws LeafkeeperError `JOURNAL_DAMAGED`, `JOURNAL_UNREADABLE`, `JOURNAL_UNKNOWN_VERSION`,
   * `JOURNAL_OTHER_DEVICE`, `STATE_FOLDER_IN_USE`, and `JOURNAL_UNWRITABLE` where the folder is set up wrong
   */
  async restore(): Promise<JournalContents> {
    const { journal, journalFailed } = this.#parts
    const contents = await journal.read()
    const { commonName } = this.#state
    if (contents.state !== null && contents.state.commonName !== commonName)
      throw journalOfOtherDevice(commonName, contents.state.commonName)
    this.#state = { ...(contents.state ?? this.#state), journalWritable: true }
    try {
      await journal.begin(this.#state)
    } catch (error) {
      if (!isDiskUnwritable(error)) throw error
      this.#state = { ...this.#state, journalWritable: false }
      journalFailed(journalError(error))
      this.#retryJournal()
    }
    return contents
  }

  /** Takes one event through the machine. Resolves when the step was taken, or put off for the journal's sake. */
  dispatch(occurrence: Occurrence): Promise<void> {
    this.#last = this.#last.then(() => this.#take(occurrence))
    return this.#last
  }

  /** Waits for what is under way; nothing is written to the journal any more. Call it after `stopRequested`. */
  async close(): Promise<void> {
    this.#closing = true
    this.#cancelRetry()
    // A step begins effects, and an effect ends in a step.
    do {
      await this.#last
      await Promise.all(this.#performing)
    } while (this.#performing.size > 0)
    await this.#last
    this.#cancelWake()
  }

  async #take(occurrence: Occurrence): Promise<void> {
    const { clock, random, observe } = this.#parts
    const event: AgentEvent = { ...occurrence, at: clock.now(), entropy: random() }
    const before = this.#state
    const { state: after, effects } = step(before, event)
    // The step is written before it is true. One on a disk that takes nothing has no effect that would need it.
    if (
      after.journalWritable &&
      isWorthARecord(before, after, effects) &&
      !(await this.#written(event, after))
    )
      return this.#holdBack(occurrence)
    this.#state = after
    if (this.#recordsSinceBegin >= recordsUntilCompaction) await this.#beginAnew()
    observe({ before, event, after })
    for (const effect of effects) this.#begin(effect)
  }

  async #written(event: AgentEvent, after: AgentState): Promise<boolean> {
    try {
      await this.#parts.journal.append(event, changesBetween(this.#state, after))
      this.#recordsSinceBegin += 1
      return true
    } catch (cause) {
      this.#parts.journalFailed(journalError(cause))
      return false
    }
  }

  /** The journal begins anew with the present state; one that cannot goes on as it is. */
  async #beginAnew(): Promise<boolean> {
    this.#recordsSinceBegin = 0
    try {
      await this.#parts.journal.begin(this.#state)
      return true
    } catch (cause) {
      this.#parts.journalFailed(journalError(cause))
      return false
    }
  }

  /** From here on the machine begins nothing that a restart has to know of; then the event is looked at again. */
  async #holdBack(occurrence: Occurrence): Promise<void> {
    this.#retryJournal()
    await this.#take({ kind: 'journalChecked', writable: false })
    if (occurrence.kind !== 'journalChecked') await this.#take(occurrence)
  }

  #retryJournal(): void {
    if (this.#closing) return
    const { clock } = this.#parts
    this.#cancelRetry = clock.wakeAt(clock.now() + this.#journalRetryMs, () => {
      this.#last = this.#last.then(async () => {
        this.#journalRetryMs = Math.min(2 * this.#journalRetryMs, journalRetryMs.last)
        if (!(await this.#beginAnew())) return this.#retryJournal()
        this.#journalRetryMs = journalRetryMs.first
        await this.#take({ kind: 'journalChecked', writable: true })
      })
    })
  }

  #begin(effect: Effect): void {
    if (effect.kind === 'wakeAt') {
      this.#cancelWake()
      this.#cancelWake =
        effect.at === null
          ? () => undefined
          : this.#parts.clock.wakeAt(effect.at, () => void this.dispatch({ kind: 'woken' }))
      return
    }
    const performing = this.#parts.perform(effect, this.#state).then((result) => {
      if (result !== null) void this.dispatch(result)
    })
    this.#performing.add(performing)
    void performing.finally(() => this.#performing.delete(performing))
  }
}

/** Whether a step is kept on disk: the instant of the last event alone is not. */
export function isWorthARecord(before: AgentState, after: AgentState, effects: readonly Effect[]): boolean {
  return effects.length > 0 || differing(before, after).some((name) => name !== 'lastAt')
}

/** The members of the state that a step has replaced. */
function changesBetween(before: AgentState, after: AgentState): Partial<AgentState> {
  return Object.fromEntries(differing(before, after).map((name) => [name, after[name]]))
}

function differing(before: AgentState, after: AgentState): (keyof AgentState)[] {
  return (Object.keys(after) as (keyof AgentState)[]).filter((name) => before[name] !== after[name])
}

function journalError(cause: unknown): LeafkeeperError {
  if (cause instanceof LeafkeeperError) return cause
  return new LeafkeeperError('JOURNAL_UNWRITABLE', { message: messageOf(cause), cause })
}

/** Identifies one roll to its issuer and to those who wait for it. */
export function newRequestId(): string {
  return randomUUID()
}
