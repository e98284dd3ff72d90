import type { AgentState, Connection, Roll } from '../../src/agent/states.ts'
import { countOf, has, noGenerations, plus, setOf, type GenerationSet } from './generation-set.ts'
import type { Task } from './world.ts'

/** New numbers for generations, old to new. */
export type Renumbering = ReadonlyMap<number, number>

/** The generations a state speaks of. */
export function generationsOf(state: AgentState): GenerationSet {
  const { generations, active, connection, roll, destruction } = state
  let numbers = setOf(generations.map((g) => g.number))
  if (active !== null) numbers = plus(numbers, active)
  if ('generation' in connection) numbers = plus(numbers, connection.generation)
  if ('plan' in roll) numbers = plus(numbers, roll.plan.generation)
  if (destruction !== null) numbers = plus(numbers, destruction.generation)
  return numbers
}

/**
 * The next number of a state among these. Only the order of numbers matters to `step`: which is before which, and which
 * are not before the next, because the journal never heard of them.
 */
export function nextAmong(used: GenerationSet, { nextGeneration }: AgentState): number {
  return 1 + countOf(used & ((1 << nextGeneration) - 1))
}

/** The same state with other generation numbers. */
export function renumberState(state: AgentState, numbers: Renumbering): AgentState {
  const { active, destruction } = state
  const at = (number: number): number => renumbered(numbers, number)
  return {
    ...state,
    generations: state.generations.map((g) => ({ ...g, number: at(g.number) })),
    active: active === null ? null : at(active),
    nextGeneration: nextAmong(setOf(numbers.keys()), state),
    connection: renumberConnection(state.connection, at),
    roll: renumberRoll(state.roll, at),
    destruction: destruction === null ? null : { ...destruction, generation: at(destruction.generation) },
  }
}

/** The same set with other generation numbers. */
export function renumberSet(set: GenerationSet, numbers: Renumbering): GenerationSet {
  let renumberedSet = noGenerations
  for (const [from, to] of numbers) if (has(set, from)) renumberedSet = plus(renumberedSet, to)
  return renumberedSet
}

function renumberConnection(connection: Connection, at: (number: number) => number): Connection {
  if (!('generation' in connection)) return connection
  const generation = at(connection.generation)
  return 'refused' in connection
    ? { ...connection, generation, refused: connection.refused.map(at) }
    : { ...connection, generation }
}

function renumberRoll(roll: Roll, at: (number: number) => number): Roll {
  return roll.phase === 'idle'
    ? roll
    : { ...roll, plan: { ...roll.plan, generation: at(roll.plan.generation) } }
}

/** The same task with other generation numbers. */
export function renumberTask(task: Task, numbers: Renumbering): Task {
  const generation = renumbered(numbers, task.generation)
  return task.kind === 'requestCertificate' && task.model !== null
    ? { ...task, generation, model: renumbered(numbers, task.model) }
    : { ...task, generation }
}

export function renumbered(numbers: Renumbering, number: number): number {
  const to = numbers.get(number)
  if (to === undefined) throw new RangeError(`generation ${number} has no new number`)
  return to
}
