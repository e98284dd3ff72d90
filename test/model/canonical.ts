import type { Operation } from '../../src/agent/states.ts'
import type { AgentModel } from './agent-model.ts'
import { has, numbersIn, plus, type GenerationSet } from './generation-set.ts'
import { operations } from './normal-form.ts'
import { renumbered, renumberSet, renumberTask, type Renumbering } from './numbering.ts'
import { keysOn, onToken, renumberToken } from './token.ts'
import { flightOf, isOnToken, underNumber, type Flight, type World } from './world.ts'

/** A world in its one form, and which generation of it was which before. */
export interface Canonical {
  readonly world: World
  /** Old number to new; `null` where none changed. */
  readonly numbers: Renumbering | null
}

/**
 * The one form of a world, by which two worlds that differ only in names become the same: generations are numbered
 * anew in their order, what concerns those that are gone is forgotten, results that nothing waits for any more are numbered
 * by their order, and effects that run side by side are sorted. Names are only ever compared, and a number that was
 * used is never used again, so worlds of the same form have the same futures.
 */
export function canonical(agents: AgentModel, world: World): Canonical {
  const used = generationsIn(agents, world)
  const { agent, journal } = world
  const tidy = withoutTheGone(sortedFlights(withoutVainRequests(world)))
  if (agents.isNumbered(agent, used) && (journal === null || agents.isNumbered(journal, used)))
    return { world: withNumberedOperations(tidy), numbers: null }
  const numbers: Renumbering = new Map(numbersIn(used).map((number, index) => [number, index + 1]))
  const renumberedWorld: World = {
    ...tidy,
    agent: agents.renumbered(agent, numbers),
    journal: journal === null ? null : agents.renumbered(journal, numbers),
    flights: tidy.flights.map(({ task, registeredAt }) =>
      flightOf(renumberTask(task, numbers), registeredAt),
    ),
    token: renumberToken(tidy.token, numbers),
    enrolled: renumberSet(tidy.enrolled, numbers),
    record:
      tidy.record === null ? null : { ...tidy.record, generation: numbers.get(tidy.record.generation) ?? 0 },
    open: tidy.open.map((one) => ({ ...one, generation: renumbered(numbers, one.generation) })),
    accepted: renumberSet(tidy.accepted, numbers),
    burnt: renumberSet(tidy.burnt, numbers),
  }
  return { world: withNumberedOperations(sortedFlights(renumberedWorld)), numbers }
}

/** A world of canonical form as text; equal worlds have equal text. */
export function keyOf(world: World): string {
  const { agent, journal, disk, flights, token, enrolled, enrollmentEnabled, assigns, record } = world
  const { open, accepted, burnt, pinRefused, breachOwed } = world
  const flags =
    Number(disk === 'full') + 2 * Number(enrollmentEnabled) + 4 * Number(pinRefused) + 8 * Number(breachOwed)
  let key = `${agent} ${journal ?? ''} ${flags} ${token} ${enrolled} ${accepted} ${burnt} ${assigns}`
  if (record !== null) key += ` ${record.hub}${record.generation}`
  for (const { operation, generation, hub, alive } of open)
    key += ` |${operation}${alive ? '+' : '-'}${generation}${hub}`
  for (const flight of flights) key += ` ${flight.task.operation}${flight.key}`
  return key
}

function generationsIn(agents: AgentModel, { agent, journal, flights, token, open }: World): GenerationSet {
  let used = agents.generationsOf(agent) | onToken(token)
  if (journal !== null) used |= agents.generationsOf(journal)
  for (const { task } of flights) {
    used = plus(used, task.generation)
    if (task.kind === 'requestCertificate' && task.model !== null) used = plus(used, task.model)
  }
  for (const { generation } of open) used = plus(used, generation)
  return used
}

/** What others know of a generation means nothing once its key is gone: no other key will have that certificate. */
function withoutTheGone(world: World): World {
  const present = keysOn(world.token)
  const { enrolled, accepted, burnt, record } = world
  const recordIsGone = record !== null && record.generation !== 0 && !has(present, record.generation)
  if (!recordIsGone && ((enrolled | accepted | burnt) & ~present) === 0) return world
  return {
    ...world,
    enrolled: enrolled & present,
    accepted: accepted & present,
    burnt: burnt & present,
    record: recordIsGone ? { ...record, generation: 0 } : record,
  }
}

/**
 * The answer to a certificate request that nothing waits for changes nothing, neither in the machine nor anywhere else.
 */
function withoutVainRequests(world: World): World {
  const isVain = ({ task }: Flight): boolean => task.kind === 'requestCertificate' && isStale(task.operation)
  return world.flights.some(isVain)
    ? { ...world, flights: world.flights.filter((flight) => !isVain(flight)) }
    : world
}

/** Work on the token stays in its order, since the agent does one after the other; the rest has none. */
function sortedFlights(world: World): World {
  const { flights } = world
  if (flights.length < 2) return world
  const token = flights.filter(isOnToken)
  const others = flights.filter((flight) => !isOnToken(flight))
  if (others.length > 1) others.sort((one, other) => (orderOf(one) < orderOf(other) ? -1 : 1))
  return { ...world, flights: [...token, ...others] }
}

function orderOf({ task, key }: Flight): string {
  return `${isStale(task.operation) ? 9 : task.operation}${key}`
}

/** Numbers what nothing waits for any more by its order. */
function withNumberedOperations(world: World): World {
  if (!isStaleAnywhere(world)) return world
  const given = new Map<Operation, Operation>()
  const numbered = (operation: Operation): Operation => {
    if (!isStale(operation)) return operation
    const number = given.get(operation) ?? operations.destruction + given.size + 1
    given.set(operation, number)
    return number
  }
  return {
    ...world,
    flights: world.flights.map((flight) => underNumber(flight, numbered(flight.task.operation))),
    open: world.open.map((one) => ({ ...one, operation: numbered(one.operation) })),
  }
}

function isStaleAnywhere({ flights, open }: World): boolean {
  return (
    flights.some(({ task }) => isStale(task.operation)) || open.some(({ operation }) => isStale(operation))
  )
}

/** Whether nothing in the machine's state waits for this operation. */
function isStale(operation: Operation): boolean {
  return operation > operations.destruction
}
