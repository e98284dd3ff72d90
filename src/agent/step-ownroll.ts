import type { Draft } from './step-draft.ts'
import { requestRoll } from './step-roll.ts'
import { nextOwnRoll, type OwnRoll } from './step-schedule.ts'
import type { AgentState, Instant, Roll } from './states.ts'

/** Begins the roll that is due by schedule or window, where none is under way that serves as well. */
export function planOwnRoll(draft: Draft): void {
  const { state } = draft
  const due = nextOwnRoll(state)
  const { ownRolls } = state.policy
  if (due === null || ownRolls === null || due.at > draft.at || !hasRoomFor(due, state.roll, draft.at)) return
  const requestId = `own-${state.nextGeneration}-${Math.floor(draft.entropy * 2 ** 32).toString(16)}`
  const { roll } = state
  const round = roll.phase === 'failed' && roll.retryAt !== null ? roll.plan.round + 1 : 0
  requestRoll(draft, { mode: due.mode, keyType: ownRolls.keyType, requestId }, round)
}

/** When `planOwnRoll` has to look again without any other event. */
export function ownRollDeadline(state: AgentState): Instant | null {
  const due = nextOwnRoll(state)
  return due !== null && hasRoomFor(due, state.roll, due.at) ? due.at : null
}

/** Whether the roll can begin, and none is under way that serves as well. */
function hasRoomFor({ mode }: OwnRoll, roll: Roll, at: Instant): boolean {
  switch (roll.phase) {
    case 'idle':
      return true
    case 'failed':
      return roll.next === null && (roll.retryAt === null || roll.retryAt <= at)
    case 'retiring':
      return roll.next === null
    case 'proving':
    case 'switching':
      return mode === 'breach' && roll.plan.mode !== 'breach' && roll.overtakenBy === undefined
    case 'generating':
    case 'requesting':
    case 'storing':
    case 'staged':
      return mode === 'breach' && roll.plan.mode !== 'breach'
  }
}
