import type { Effect } from './effects.ts'
import type { AgentState, ErrorCode, Generation, Instant, Operation } from './states.ts'

/** The step in the making: the state so far and the effects so far. It never leaves `step`. */
export interface Draft {
  state: AgentState
  readonly effects: Effect[]
  readonly at: Instant
  readonly entropy: number
}

/**
 * What no waiting mends: trying a PIN again by itself could lock the token, and an engine that has lost the token does
 * not find it again in this process.
 */
export const shutsToken: ReadonlySet<ErrorCode> = new Set([
  'HSM_PIN_INCORRECT',
  'HSM_PIN_LOCKED',
  'HSM_PIN_MISSING',
  'TLS_RESTART_NEEDED',
])

/** An omission that keeps the members of a union apart. */
type WithoutOperation<E> = E extends { readonly operation: Operation } ? Omit<E, 'operation'> : never

/** Adds an effect that has a result, under a new operation number. */
export function begin(draft: Draft, effect: WithoutOperation<Effect>): Operation {
  const operation = draft.state.lastOperation + 1
  draft.state = { ...draft.state, lastOperation: operation }
  draft.effects.push({ ...effect, operation })
  return operation
}

/** Changes some members of the state. */
export function change(draft: Draft, part: Partial<AgentState>): void {
  draft.state = { ...draft.state, ...part }
}

/** Changes one generation; the others stay as they are. */
export function changeGenerations(draft: Draft, edit: (generation: Generation) => Generation): void {
  change(draft, { generations: draft.state.generations.map(edit) })
}

/**
 * The generations to try when the device has no connection, best first: the active one, the staged one, and any other that
 * is still there, such as the one kept for the overlap; of several the newest first. With the journal lost there is
 * nothing but these others: the newest that DPS accepts is right, since an older one may be compromised.
 */
export function candidates({ state, at }: Pick<Draft, 'state' | 'at'>): readonly number[] {
  const staged = state.roll.phase === 'staged' ? state.roll.plan.generation : null
  const others = state.generations.map((g) => g.number).sort((one, other) => other - one)
  const order = new Set([state.active, staged, ...others])
  const leaving = state.destruction?.generation
  return [...order]
    .filter((number) => number !== null)
    .filter((number) =>
      state.generations.some(
        (g) =>
          g.number === number &&
          g.certificate !== null &&
          !g.compromised &&
          g.number !== leaving &&
          (g.retireAt === null || g.retireAt > at),
      ),
    )
}

/** Whether a registration with DPS is under way; there is never more than one. */
export function registering(state: AgentState): boolean {
  const { connection, roll } = state
  return (
    roll.phase === 'proving' ||
    connection.phase === 'provisioning' ||
    (connection.phase === 'connected' && typeof connection.registering?.operation === 'number')
  )
}
