import type { FoundGeneration, Occurrence } from '../../src/agent/events.ts'
import type { AgentState, Assignment, Instant, Operation, Roll } from '../../src/agent/states.ts'
import { unawaited, type AgentModel, type Reaction } from './agent-model.ts'
import { minus, numbersIn } from './generation-set.ts'
import { now } from './normal-form.ts'
import { holdingOf, onToken, type Holding } from './token.ts'
import { underNumber, type World } from './world.ts'

/** A world after something happened, and the steps the machine took for it. */
export interface Outcome {
  readonly world: World
  readonly reactions: readonly Reaction[]
}

/** What a device is set up with. */
export interface Setup {
  readonly agents: AgentModel
  /** The hub of a device without DPS. */
  readonly fixedAssignment: Assignment | null
}

/** The runner and the process around the machine: see `src/agent/runner.ts`, whose rules these are. */
export class Process {
  readonly #agents: AgentModel
  readonly #fixedAssignment: Assignment | null

  constructor({ agents, fixedAssignment }: Setup) {
    this.#agents = agents
    this.#fixedAssignment = fixedAssignment
  }

  /** An event goes to the machine, into the journal, and then what it leads to is begun. */
  tell(world: World, occurrence: Occurrence, at: Instant = now): Outcome {
    const reaction = this.#agents.react(world.agent, occurrence, at)
    if (reaction.recorded && world.disk === 'full') {
      // The record cannot be written: the machine is told, and then the event is looked at again.
      const journal = this.#agents.persisted(world.agent)
      const told = this.#agents.react(world.agent, { kind: 'journalChecked', writable: false })
      const held = { world: begin({ ...world, journal }, told), reactions: [told] }
      const again = underNumberAfter(told, occurrence)
      return after(held, this.tell(held.world, again, at))
    }
    return { world: remembered(begin(world, reaction), reaction), reactions: [reaction] }
  }

  /** The disk takes records again: the journal begins anew with the state in memory. */
  diskRecovers(world: World): Outcome {
    const writable: World = { ...world, disk: 'writable', journal: null }
    return this.#agents.state(world.agent).journalWritable
      ? { world: writable, reactions: [] }
      : this.tell(writable, { kind: 'journalChecked', writable: true })
  }

  /** A new process begins with what the journal and the token hold. */
  restart(world: World, journalLost = false): Outcome {
    const { agent, journal } = world
    const from = journalLost ? this.#agents.initial : (journal ?? this.#agents.persisted(agent))
    const isFull = world.disk === 'full'
    const quiet: World = {
      ...(journal === null ? world : knownOnDisk(world, this.#agents.state(journal))),
      agent: isFull ? this.#agents.onFullDisk(from) : from,
      journal: isFull ? from : null,
      flights: [],
      open: [],
      pinRefused: false,
    }
    return this.tell(quiet, {
      kind: 'started',
      policy: this.#agents.policy,
      commonName: this.#agents.commonName,
      found: numbersIn(onToken(world.token)).map((number) =>
        found(number, holdingOf(world.token, number), this.#agents.commonName),
      ),
      fixedAssignment: this.#fixedAssignment,
      bootstrap: { keyType: 'EC-P256', requestId: 'bootstrap' },
    })
  }
}

/** The two as one. */
function after(first: Outcome, second: Outcome): Outcome {
  return { world: second.world, reactions: [...first.reactions, ...second.reactions] }
}

/** The same event with the number its operation has after a step. */
function underNumberAfter({ operations: numbers }: Reaction, event: Occurrence): Occurrence {
  if (!('operation' in event)) return event
  const { operation } = event
  return { ...event, operation: numbers.get(operation) ?? unawaited(operation) }
}

/** Begins the effects of a step, and gives operations their numbers in the new state. */
function begin(world: World, { agent, effects, begun, operations: numbers }: Reaction): World {
  const at = (operation: Operation): Operation => numbers.get(operation) ?? unawaited(operation)
  let { open } = world
  for (const effect of effects) {
    if (effect.kind === 'closeConnection')
      open = open.filter(({ operation }) => operation !== effect.operation)
    else if (effect.kind === 'abandonAll') open = []
  }
  if (open.some(({ operation }) => at(operation) !== operation))
    open = open.map((one) => ({ ...one, operation: at(one.operation) }))
  const flights = world.flights.map((flight) => underNumber(flight, at(flight.task.operation)))
  return { ...world, agent, open, flights: begun.length === 0 ? flights : [...flights, ...begun] }
}

/** What a process can be held to that knows no more than its journal: what the disk did not take was never promised. */
function knownOnDisk(world: World, journal: AgentState): World {
  const isTrusted = journal.generations.filter(({ compromised }) => !compromised)
  const burnt = isTrusted.reduce((left, { number }) => minus(left, number), world.burnt)
  return { ...world, burnt, breachOwed: world.breachOwed && remembersRequest(journal.roll) }
}

/** Whether a roll was asked for that begins after this one. */
export function remembersRequest(roll: Roll): boolean {
  return ('next' in roll && roll.next !== null) || 'overtakenBy' in roll
}

/** What the world holds the machine to from now on. */
function remembered(world: World, reaction: Reaction): World {
  const { before, event, after } = reaction
  const asked = event.kind === 'rollRequested' && event.mode === 'breach' && before.active !== null
  const breachOwed = (world.breachOwed || asked) && !isBreach(after.roll)
  const burnt = completesBreach(reaction) ? minus(onToken(world.token), after.active ?? 0) : world.burnt
  return breachOwed === world.breachOwed && burnt === world.burnt ? world : { ...world, breachOwed, burnt }
}

/** Whether a hub has accepted what a breach roll has made, so that all other keys are burnt. */
export function completesBreach({ before, after }: Reaction): boolean {
  const { roll, active } = before
  return isBreach(roll) && after.active !== active && after.active === roll.plan.generation
}

function isBreach(roll: Roll): roll is Exclude<Roll, { phase: 'idle' }> {
  return 'plan' in roll && roll.plan.mode === 'breach'
}

/** A generation as a start finds it on the token. */
function found(number: number, holding: Holding, commonName: string): FoundGeneration {
  const name = holding === 'misnamed' ? 'another' : commonName
  const certified = holding === 'certified' || holding === 'misnamed'
  return {
    number,
    keyId: null,
    hasKey: holding !== 'remains',
    certificate: certified ? { commonName: name, thumbprint: '', notBefore: 0, notAfter: 0 } : null,
  }
}
