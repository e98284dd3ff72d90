import type { Effect } from '../../src/agent/effects.ts'
import type { AgentEvent, Occurrence } from '../../src/agent/events.ts'
import { initialState, type step } from '../../src/agent/machine.ts'
import { isWorthARecord } from '../../src/agent/runner.ts'
import type { AgentState, Instant, Operation, Policy } from '../../src/agent/states.ts'
import { Interner } from './interner.ts'
import { normalForm, now, operations } from './normal-form.ts'
import type { GenerationSet } from './generation-set.ts'
import { generationsOf, nextAmong, renumberState, type Renumbering } from './numbering.ts'
import { flightOf, underNumber, type Flight, type Task } from './world.ts'

/** The machine under exploration: the production one, or one that was broken on purpose. */
export type Step = typeof step

/** One step of the machine, between normal forms. */
export interface Reaction {
  readonly before: AgentState
  readonly event: AgentEvent
  readonly after: AgentState
  /** The number of `after`. */
  readonly agent: number
  readonly effects: readonly Effect[]
  /** Those of the effects that end in an event, under their new numbers. */
  readonly begun: readonly Flight[]
  /** New numbers of the operations that `after` waits for; results of others are stale. */
  readonly operations: ReadonlyMap<Operation, Operation>
  /** Whether the runner keeps a record of it. */
  readonly recorded: boolean
}

/** Steps between the normal forms of the machine's state; each is computed once. */
export class AgentModel {
  readonly policy: Policy
  readonly commonName: string
  readonly #step: Step
  readonly #states = new Interner<AgentState>(({ policy: _always, ...state }) => JSON.stringify(state))
  readonly #reactions = new Map<string, Reaction>()
  readonly #persisted: number[] = []
  readonly #generations: GenerationSet[] = []
  readonly #renumbered = new Map<string, number>()

  constructor(step: Step, policy: Policy, commonName: string) {
    this.#step = step
    this.policy = policy
    this.commonName = commonName
  }

  /** How many states of the machine there are, up to what it cannot tell apart. */
  get size(): number {
    return this.#states.size
  }

  /** The number of the machine before its first event. */
  get initial(): number {
    return this.idOf(initialState(this.policy, this.commonName))
  }

  state(agent: number): AgentState {
    return this.#states.at(agent)
  }

  /** The number of a state. */
  idOf(state: AgentState): number {
    return this.#states.idOf(normalForm(state).state)
  }

  /** One step; `at` is another instant than {@link now} only where the clock was set. */
  react(agent: number, occurrence: Occurrence, at: Instant = now): Reaction {
    const key = `${agent} ${at === now ? '' : at} ${keyOfEvent(occurrence)}`
    const known = this.#reactions.get(key)
    if (known !== undefined) return known
    const before = this.#states.at(agent)
    const event: AgentEvent = { ...occurrence, at, entropy: 0.5 }
    const { state, effects } = this.#step(before, event)
    const { state: after, operations: numbers } = normalForm(state)
    const reaction: Reaction = {
      before,
      event,
      after,
      agent: this.#states.idOf(after),
      effects,
      begun: effects
        .filter(isTask)
        .map((task) => underNumber(flightOf(task), numbers.get(task.operation) ?? unawaited(task.operation))),
      operations: numbers,
      recorded: state.journalWritable && isWorthARecord(before, state, effects),
    }
    this.#reactions.set(key, reaction)
    return reaction
  }

  /**
   * When the machine wants to be woken in this state. It is asked with a result that nothing waits for, after which it has
   * nothing to do but to say so; the state must have come from a step, so that all that was due has been begun.
   */
  wantsToBeWoken(state: AgentState): Instant | null {
    const asked = { kind: 'certificateStored', operation: 0, at: now, entropy: 0.5 } as const
    return this.#step(state, asked).state.wakeAt
  }

  /** What a restart can still know of a state: the runner and `started` forget the rest, so that it need not be kept apart. */
  persisted(agent: number): number {
    const known = this.#persisted[agent]
    if (known !== undefined) return known
    const persisted = this.idOf({
      ...this.#states.at(agent),
      running: false,
      connection: { phase: 'offline' },
      destruction: null,
      wakeAt: null,
      journalWritable: true,
      tokenShut: null,
    })
    this.#persisted[agent] = persisted
    return persisted
  }

  /** A state as the runner restores it on a disk that takes no records. */
  onFullDisk(persisted: number): number {
    return this.idOf({ ...this.#states.at(persisted), journalWritable: false })
  }

  /** The generations a state speaks of. */
  generationsOf(agent: number): GenerationSet {
    const known = this.#generations[agent]
    if (known !== undefined) return known
    const generations = generationsOf(this.#states.at(agent))
    this.#generations[agent] = generations
    return generations
  }

  /** Whether the generations that are used are numbered without a gap, and the state goes on after them. */
  isNumbered(agent: number, used: GenerationSet): boolean {
    const withoutGap = (used & (used + 2)) === 0
    const state = this.#states.at(agent)
    return withoutGap && state.nextGeneration === nextAmong(used, state)
  }

  /** The same state with other generation numbers. */
  renumbered(agent: number, numbers: Renumbering): number {
    const key = `${agent} ${[...numbers.keys()].join(' ')}`
    const known = this.#renumbered.get(key)
    if (known !== undefined) return known
    const renumbered = this.idOf(renumberState(this.#states.at(agent), numbers))
    this.#renumbered.set(key, renumbered)
    return renumbered
  }
}

/** A number that nothing waits for any more; it stays one of a kind until the world gives it its own. */
export function unawaited(operation: Operation): Operation {
  return operation + 2 * operations.last
}

function isTask(effect: Effect): effect is Task {
  return 'operation' in effect && effect.kind !== 'closeConnection'
}

/** All that tells one event from another; short, because every step asks for it. */
function keyOfEvent(event: Occurrence): string {
  switch (event.kind) {
    case 'woken':
    case 'reprovisionRequested':
    case 'stopRequested':
      return event.kind
    case 'keyGenerated':
      return `${event.kind}${event.operation} ${event.generation}`
    case 'certificateStored':
    case 'hubConnected':
    case 'generationDestroyed':
      return `${event.kind}${event.operation}`
    case 'registered':
      return `${event.kind}${event.operation}${event.assignment.hub}`
    case 'operationFailed':
      return `${event.kind}${event.operation}${event.failure.code}${String(event.failure.retryable)}`
    default:
      return JSON.stringify(event)
  }
}
