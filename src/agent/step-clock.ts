import type { AgentState, Connection, Instant, Roll } from './states.ts'

/**
 * The state as of this instant. A clock that was set back takes every deadline with it: each was meant as a time from
 * then, and must not lie years ahead because a clock ran wrong for a moment. A clock that was set forward makes
 * deadlines due, which is safe.
 */
export function afterClockChange(state: AgentState, now: Instant): AgentState {
  const back = Math.max(0, (state.lastAt ?? now) - now)
  if (back === 0) return state.lastAt === now ? state : { ...state, lastAt: now }
  const { destruction, wakeAt, lastRollAt } = state
  return {
    ...state,
    lastAt: now,
    wakeAt: wakeAt === null ? null : wakeAt - back,
    connection: connectionEarlier(state.connection, back),
    roll: rollEarlier(state.roll, back),
    lastRollAt: lastRollAt === null ? null : lastRollAt - back,
    destruction: destruction === null ? null : { ...destruction, retryAt: destruction.retryAt - back },
    generations: state.generations.map((g) =>
      g.retireAt === null ? g : { ...g, retireAt: g.retireAt - back },
    ),
  }
}

function connectionEarlier(connection: Connection, back: number): Connection {
  switch (connection.phase) {
    case 'waiting':
    case 'refused':
      return { ...connection, until: connection.until - back }
    case 'connected': {
      const { registering, since } = connection
      const refresh = registering === null ? null : { ...registering, retryAt: registering.retryAt - back }
      return { ...connection, since: since - back, registering: refresh }
    }
    case 'offline':
    case 'provisioning':
    case 'connecting':
    case 'halted':
      return connection
  }
}

function rollEarlier(roll: Roll, back: number): Roll {
  switch (roll.phase) {
    case 'generating':
    case 'requesting':
    case 'storing':
      return { ...roll, retryAt: roll.retryAt - back }
    case 'staged':
      return { ...roll, proveAt: roll.proveAt - back }
    case 'failed':
      return roll.retryAt === null ? roll : { ...roll, retryAt: roll.retryAt - back }
    case 'idle':
    case 'proving':
    case 'switching':
    case 'retiring':
      return roll
  }
}
