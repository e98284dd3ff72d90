import { randomUUID } from 'node:crypto'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { Clock } from './clock.ts'
import type { Effect } from './effects.ts'
import type { AgentEvent, Occurrence } from './events.ts'
import type { Journal } from './journal.ts'
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

/** How long the runner waits before it writes to a full or read-only disk again, in milliseconds. */
const journalRetryMs = 1_000

/** After so many records the journal begins anew with the present state, so that it stays small. */
const recordsUntilCompaction = 512

/**
 * Runs the machine: one event at a time, first into the journal, then its effects. Effects run side by side, and
 * what they end in comes back as events.
 */
export class Runner {
  readonly #parts: RunnerParts
  #state: AgentState
  #last: Promise<void> = Promise.resolve()
  #cancelWake: () => void = () => undefined
  readonly #performing = new Set<Promise<void>>()
  #closing = false
  #recordsSinceBegin = 0
  #endJournalWait: () => void = () => undefined

  constructor(parts: RunnerParts, policy: Policy, commonName: string) {
    this.#parts = parts
    this.#state = initialState(policy, commonName)
  }

  /** The state after the last step. */
  get state(): AgentState {
    return this.#state
  }

  /**
   * Reads the journal and makes it begin with the state it ends in.
   *
   * @throws LeafkeeperError `JOURNAL_DAMAGED`, `JOURNAL_UNWRITABLE`
   */
  async restore(): Promise<void> {
    const { state, events } = await this.#parts.journal.read()
    let restored = state ?? this.#state
    for (const event of events) restored = step(restored, event).state
    await this.#parts.journal.begin(restored)
    this.#state = restored
  }

  /** Takes one event through the machine. Resolves when the step is in the journal and its effects have begun. */
  dispatch(occurrence: Occurrence): Promise<void> {
    this.#last = this.#last.then(() => this.#take(occurrence))
    return this.#last
  }

  /** Waits for what is under way, then lets the journal go. Call it after `stopRequested`. */
  async close(): Promise<void> {
    this.#closing = true
    this.#endJournalWait()
    this.#cancelWake()
    while (this.#performing.size > 0) await Promise.all(this.#performing)
    await this.#last
    this.#cancelWake()
    await this.#parts.journal.close()
  }

  async #take(occurrence: Occurrence): Promise<void> {
    const { clock, random, observe } = this.#parts
    const event: AgentEvent = { ...occurrence, at: clock.now(), entropy: random() }
    const before = this.#state
    const { state: after, effects } = step(before, event)
    const changed = after !== before || effects.length > 0
    if (changed && !(await this.#written(event))) return
    this.#state = after
    if (changed && this.#recordsSinceBegin >= recordsUntilCompaction) await this.#compact()
    observe({ before, event, after })
    for (const effect of effects) this.#begin(effect)
  }

  /** A journal that cannot begin anew goes on as it is. */
  async #compact(): Promise<void> {
    this.#recordsSinceBegin = 0
    try {
      await this.#parts.journal.begin(this.#state)
    } catch (cause) {
      this.#parts.journalFailed(journalError(cause))
    }
  }

  /** Nothing is done that is not in the journal. False when the agent closes while the disk still refuses. */
  async #written(event: AgentEvent): Promise<boolean> {
    for (;;) {
      try {
        await this.#parts.journal.append(event)
        this.#recordsSinceBegin += 1
        return true
      } catch (cause) {
        this.#parts.journalFailed(journalError(cause))
      }
      if (this.#closing) return false
      await new Promise<void>((resolve) => {
        const cancel = this.#parts.clock.wakeAt(this.#parts.clock.now() + journalRetryMs, resolve)
        this.#endJournalWait = () => {
          cancel()
          resolve()
        }
      })
    }
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

function journalError(cause: unknown): LeafkeeperError {
  if (cause instanceof LeafkeeperError) return cause
  return new LeafkeeperError('JOURNAL_UNWRITABLE', { message: messageOf(cause), cause })
}

/** Identifies one roll to its issuer and to those who wait for it. */
export function newRequestId(): string {
  return randomUUID()
}
