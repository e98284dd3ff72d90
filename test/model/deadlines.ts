import type { AgentState, Connection, Roll } from '../../src/agent/states.ts'
import type { AgentModel } from './agent-model.ts'
import { later, now } from './normal-form.ts'

/** A deadline of the machine: a region's, the destruction's, or the one by which a generation leaves. */
export type Deadline = 'connection' | 'roll' | 'destruction' | number

/** The deadlines that lie ahead. */
export function deadlinesAhead(state: AgentState): readonly Deadline[] {
  const ahead: Deadline[] = []
  if (connectionAt(state.connection, later) !== state.connection) ahead.push('connection')
  if (rollAt(state.roll, later) !== state.roll) ahead.push('roll')
  if (state.destruction?.operation === null && state.destruction.retryAt === later) ahead.push('destruction')
  for (const g of state.generations) if (g.retireAt === later) ahead.push(g.number)
  return ahead
}

/** Says of a deadline what it is for. */
export function nameOf(deadline: Deadline): string {
  return typeof deadline === 'number' ? `until #${deadline} has to leave` : `for the next try (${deadline})`
}

/**
 * The same state when a deadline has just come. Its timer rings, if the machine has asked to be woken for this deadline
 * at all: that is found out by asking the machine when it wants to be woken while this one is the next.
 */
export function whenItHasCome(agents: AgentModel, agent: number, deadline: Deadline): number {
  const state = agents.state(agent)
  const next = withDeadline(state, deadline, now + 1)
  const asked = agents.wantsToBeWoken(next)
  return agents.idOf({
    ...withDeadline(state, deadline, now),
    wakeAt: asked === now + 1 ? now : state.wakeAt,
  })
}

/** The same state when everything has come. */
export function whenAllHasCome(agents: AgentModel, agent: number): number {
  const state = agents.state(agent)
  const come = deadlinesAhead(state).reduce((sooner, deadline) => withDeadline(sooner, deadline, now), state)
  return agents.idOf({ ...come, wakeAt: state.wakeAt === null ? null : now })
}

/** A state on disk when a deadline has come: nobody is woken by it. */
export function onDiskWhenItHasCome(agents: AgentModel, agent: number, deadline: Deadline): number {
  return agents.idOf(withDeadline(agents.state(agent), deadline, now))
}

/** Moves a deadline that lies ahead. */
function withDeadline(state: AgentState, deadline: Deadline, at: number): AgentState {
  switch (deadline) {
    case 'connection':
      return { ...state, connection: connectionAt(state.connection, at) }
    case 'roll':
      return { ...state, roll: rollAt(state.roll, at) }
    case 'destruction': {
      const { destruction } = state
      return destruction === null || destruction.retryAt <= now
        ? state
        : { ...state, destruction: { ...destruction, retryAt: at } }
    }
    default:
      return {
        ...state,
        generations: state.generations.map((g) =>
          g.number === deadline && g.retireAt !== null && g.retireAt > now ? { ...g, retireAt: at } : g,
        ),
      }
  }
}

/** The same object where nothing lies ahead. */
function connectionAt(connection: Connection, at: number): Connection {
  switch (connection.phase) {
    case 'waiting':
    case 'refused':
      return connection.until > now ? { ...connection, until: at } : connection
    case 'connected': {
      const { registering } = connection
      if (registering?.operation !== null || registering.retryAt <= now) return connection
      return { ...connection, registering: { ...registering, retryAt: at } }
    }
    default:
      return connection
  }
}

function rollAt(roll: Roll, at: number): Roll {
  switch (roll.phase) {
    case 'generating':
    case 'requesting':
    case 'storing':
      return roll.operation === null && roll.retryAt > now ? { ...roll, retryAt: at } : roll
    case 'staged':
      return roll.proveAt > now ? { ...roll, proveAt: at } : roll
    case 'failed':
      return roll.retryAt !== null && roll.retryAt > now ? { ...roll, retryAt: at } : roll
    default:
      return roll
  }
}
