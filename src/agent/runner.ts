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
 *
 * While the journal cannot be written, steps that only concern the connection go on, since a restart finds their
 * outcome by itself. Every other event is put off until the disk takes it, so that nothing risky begins.
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
  /** Events that have to wait until the disk takes records again. */
  readonly #putOff: Occurrence[] = []

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
   * @throws LeafkeeperError `JOURNAL_DAMAGED`, `JOURNAL_UNREADABLE`, `JOURNAL_UNKNOWN_VERSION`,
   * `JOURNAL_OTHER_DEVICE`, `JOURNAL_UNWRITABLE`
   */
  async restore(): Promise<void> {
    const { state, events } = await this.#parts.journal.read()
    const { commonName } = this.#state
    if (state !== null && state.commonName !== commonName)
      throw new LeafkeeperError('JOURNAL_OTHER_DEVICE', {
        message: `Expected the journal of ${commonName}, found that of ${state.commonName}.`,
      })
    // A journal of an older version lacks what its policy did not know of yet.
    const complete = (policy: Policy): Policy => ({ ...this.#state.policy, ...policy })
    let restored = state === null ? this.#state : { ...state, policy: complete(state.policy) }
    for (const event of events) {
      const known = event.kind === 'started' ? { ...event, policy: complete(event.policy) } : event
      restored = step(restored, known).state
    }
    await this.#parts.journal.begin(restored)
    this.#state = restored
  }

  /** Takes one event through the machine. Resolves when the step was taken, or put off for the journal's sake. */
  dispatch(occurrence: Occurrence): Promise<void> {
    this.#last = this.#last.then(() => this.#take(occurrence))
    return this.#last
  }

  /** Waits for what is under way, then lets the journal go. Call it after `stopRequested`. */
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
    await this.#parts.journal.close()
  }

  async #take(occurrence: Occurrence): Promise<void> {
    const { clock, random, observe } = this.#parts
    const event: AgentEvent = { ...occurrence, at: clock.now(), entropy: random() }
    const before = this.#state
    const { state: after, effects } = step(before, event)
    // What the journal can take is no record of its own: a start always finds it out anew.
    const recorded = event.kind !== 'journalChecked' && isWorthARecord(before, after, effects)
    if (recorded && !(await this.#written(event))) {
      if (before.journalWritable) return this.#holdBack(occurrence)
      if (!concernsOnlyConnection(before, after, effects)) return void this.#putOff.push(occurrence)
    }
    this.#state = after
    if (this.#recordsSinceBegin >= recordsUntilCompaction) await this.#beginAnew()
    observe({ before, event, after })
    for (const effect of effects) this.#begin(effect)
  }

  /** While the journal is not writable, what it lacks is written all at once when it is again. */
  async #written(event: AgentEvent): Promise<boolean> {
    if (!this.#state.journalWritable) return false
    try {
      await this.#parts.journal.append(event)
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
    await this.#take(occurrence)
  }

  #retryJournal(): void {
    if (this.#closing) return
    const { clock } = this.#parts
    this.#cancelRetry = clock.wakeAt(clock.now() + journalRetryMs, () => {
      this.#last = this.#last.then(async () => {
        if (!(await this.#beginAnew())) return this.#retryJournal()
        for (const again of [{ kind: 'journalChecked', writable: true } as const, ...this.#putOff.splice(0)])
          void this.dispatch(again)
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

/** The instant of the last event alone is not kept on disk. */
function isWorthARecord(before: AgentState, after: AgentState, effects: readonly Effect[]): boolean {
  return effects.length > 0 || differing(before, after).some((name) => name !== 'lastAt')
}

const aboutConnection: ReadonlySet<string> = new Set([
  'running',
  'connection',
  'assignment',
  'reprovisionWanted',
  'lastOperation',
  'wakeAt',
  'lastAt',
  'journalWritable',
] satisfies (keyof AgentState)[])

const connectionEffects: ReadonlySet<string> = new Set([
  'register',
  'prepareHub',
  'connectHub',
  'closeConnection',
  'wakeAt',
  'abandonAll',
] satisfies Effect['kind'][])

/** Whether a restart would come to the same without knowing of this step. */
function concernsOnlyConnection(before: AgentState, after: AgentState, effects: readonly Effect[]): boolean {
  return (
    differing(before, after).every((name) => aboutConnection.has(name)) &&
    effects.every(({ kind }) => connectionEffects.has(kind))
  )
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
