import type { AgentState, RollMode } from './states.ts'

/** Says why a roll cannot begin now, in words for whoever asked for it; `undefined` when it can. */
export function rollObstacle(
  { active, roll }: AgentState,
  mode: Exclude<RollMode, 'bootstrap'>,
): string | undefined {
  if (active === null) return 'The device has no certificate yet.'
  if (roll.phase === 'idle') return undefined
  const queued = 'next' in roll ? roll.next : (('overtakenBy' in roll ? roll.overtakenBy : undefined) ?? null)
  if (queued !== null) return `A roll for ${queued.mode} is already waiting to begin.`
  if (roll.phase === 'retiring' || roll.phase === 'failed') return undefined
  if (mode === 'breach' && roll.plan.mode !== 'breach') return undefined
  return `A roll for ${roll.plan.mode} is already ${roll.phase}.`
}
