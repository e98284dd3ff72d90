import { plannedBy, recoveredRoll } from './reconcile.ts'
import { change, changeGenerations, type Draft } from './step-draft.ts'
import { dueAt } from './step-retry.ts'
import { condemn, requestRoll } from './step-roll.ts'
import type { RollPlan } from './states.ts'

/** A hub has accepted this generation: move the pointer, and let the ones before it go. */
export function commit(draft: Draft, generation: number): void {
  const { roll, active, policy } = draft.state
  if (generation === active) return
  change(draft, { active: generation })
  const rolled = 'plan' in roll && roll.plan.generation === generation
  if (!rolled)
    return active === null ? pointerFound(draft, generation) : returnToKept(draft, generation, active)
  const breach = roll.plan.mode === 'breach'
  changeGenerations(draft, (g) => {
    if (g.number === generation) return { ...g, retireAt: null }
    if (breach) return { ...g, retireAt: draft.at, compromised: true }
    // Where no generation was known to be active, each that is whole may have been.
    const wasActive = active === null ? g.certificate !== null : g.number === active
    return { ...g, retireAt: wasActive ? draft.at + policy.overlapMs : draft.at }
  })
  change(draft, { lastRollAt: roll.plan.startedAt })
  serveWindow(draft, roll.plan)
  const overtakenBy = 'overtakenBy' in roll ? roll.overtakenBy : undefined
  change(draft, { roll: { phase: 'retiring', plan: roll.plan, next: null } })
  if (overtakenBy !== undefined) requestRoll(draft, overtakenBy)
}

/** A roll that began since the cloud wanted one, and that is as thorough, is the one it wanted. */
function serveWindow(draft: Draft, { startedAt, mode }: RollPlan): void {
  const { rollWindow } = draft.state
  if (rollWindow === null || startedAt < rollWindow.start) return
  if (mode === 'breach' || rollWindow.mode === 'expiry')
    change(draft, { rollWindow: { ...rollWindow, served: true } })
}

/**
 * A start knew of no accepted generation, and now one is. A later one that is whole was staged and is not enrolled
 * yet: it is proved again like any other. What is left leaves: halves now, whole ones after the overlap.
 */
function pointerFound(draft: Draft, accepted: number): void {
  const { generations, roll, policy } = draft.state
  const later = generations.filter((g) => g.number > accepted && g.certificate !== null && !g.compromised)
  const isBusy = plannedBy(roll) !== null || ('next' in roll && roll.next !== null)
  if (later.length > 0 && !isBusy) {
    const proveAt = dueAt(draft, 'refusal', 0, null)
    const highest = Math.max(...later.map((g) => g.number))
    change(draft, { roll: recoveredRoll(highest, draft.at, proveAt, 'DPS_UNAUTHORIZED') })
  }
  const wanted = [accepted, plannedBy(draft.state.roll)]
  changeGenerations(draft, (g) => {
    if (g.compromised) return g
    if (wanted.includes(g.number)) return { ...g, retireAt: null }
    return { ...g, retireAt: g.certificate === null ? draft.at : draft.at + policy.overlapMs }
  })
}

/** The new generation stopped working and the one kept for the overlap still does: try the new one again later. */
function returnToKept(draft: Draft, kept: number, failed: number): void {
  const { roll } = draft.state
  changeGenerations(draft, (g) => (g.number === kept ? { ...g, retireAt: null } : g))
  // No roll works on the failed generation any more, so it has to leave.
  if (roll.phase !== 'retiring' || roll.plan.generation !== failed) return condemn(draft, failed)
  const proveAt = dueAt(draft, 'refusal', 0, null)
  change(draft, { roll: { phase: 'staged', plan: roll.plan, attempt: 1, proveAt, code: 'HUB_UNAUTHORIZED' } })
}
