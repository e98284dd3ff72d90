import type { AgentEvent, FoundGeneration } from './events.ts'
import { candidates, change, type Draft } from './step-draft.ts'
import { startRoll } from './step-roll.ts'
import type { AgentState, Generation, Policy, Roll } from './states.ts'

type Started = Extract<AgentEvent, { kind: 'started' }>
type Staged = Extract<Roll, { phase: 'staged' }>

/**
 * A process begins. What the token really holds replaces what was believed, and whatever was under way is forgotten:
 * planning begins it again, and every effect can be performed twice.
 */
export function startUp(draft: Draft, event: Started): void {
  const before = draft.state
  const journalLost = before.nextGeneration === 1
  const generations = matchGenerations(before, event.found, journalLost, draft.at)
  const active = activeAmong(before, generations, journalLost)
  const resumed = resumeRoll(before.roll, generations, draft.at)
  const recovered = journalLost ? recoverStaged(generations, active, draft.at) : null
  const numbers = event.found.map((found) => found.number)
  change(draft, {
    running: true,
    policy: event.policy,
    commonName: event.commonName,
    generations: generations.map((g) => keepForSafety(g, active, recovered, event.policy, draft.at)),
    active,
    nextGeneration: Math.max(before.nextGeneration, ...numbers.map((number) => number + 1)),
    assignment: event.fixedAssignment ?? before.assignment,
    connection: { phase: 'offline' },
    destruction: null,
    roll: recovered ?? resumed,
    wakeAt: null,
  })
  const { roll } = draft.state
  const rolling = roll.phase !== 'idle' && roll.phase !== 'retiring' && roll.phase !== 'failed'
  if (candidates(draft).length > 0 || rolling || (roll.phase === 'failed' && roll.retryAt !== null)) return
  // The device has no identity, or its token lost it: it gets one, or it says what is missing.
  if (event.bootstrap === null)
    return change(draft, { connection: { phase: 'halted', code: 'HSM_KEY_NOT_FOUND' } })
  startRoll(draft, { mode: 'bootstrap', ...event.bootstrap })
}

/**
 * What is on the token, with what the journal knows of it. A complete generation that nobody knows becomes part of
 * the identity when the journal has none; otherwise what nobody knows was left by a crash and leaves.
 */
function matchGenerations(
  before: AgentState,
  found: readonly FoundGeneration[],
  journalLost: boolean,
  now: number,
): readonly Generation[] {
  const planned = 'plan' in before.roll ? before.roll.plan.generation : null
  return found
    .filter((item) => item.hasKey)
    .map(({ number, keyId, certificate }) => {
      const known = before.generations.find((g) => g.number === number)
      if (known !== undefined) return { ...known, keyId, certificate: certificate ?? known.certificate }
      const wanted = number === planned || (journalLost && certificate !== null)
      return { number, keyId, certificate, retireAt: wanted ? null : now, compromised: false }
    })
}

/**
 * The journaled pointer where its generation is still there. Without it, the lowest complete generation: it is either
 * active or kept for an overlap, and a higher one is proved with DPS like any staged generation.
 */
function activeAmong(
  before: AgentState,
  generations: readonly Generation[],
  journalLost: boolean,
): number | null {
  const complete = generations.filter((g) => g.certificate !== null && !g.compromised)
  if (complete.some((g) => g.number === before.active)) return before.active
  return journalLost && complete.length > 0 ? Math.min(...complete.map((g) => g.number)) : null
}

/**
 * With the journal lost, the highest complete generation above the active one was either staged, or active already
 * with the other one kept for the overlap. Proving it is right in both cases.
 */
function recoverStaged(
  generations: readonly Generation[],
  active: number | null,
  now: number,
): Staged | null {
  const complete = generations.filter((g) => g.certificate !== null)
  const highest = Math.max(...complete.map((g) => g.number))
  if (complete.length === 0 || active === null || highest === active) return null
  const plan = {
    generation: highest,
    mode: 'expiry' as const,
    keyType: 'EC-P256' as const,
    requestId: `recovered-${highest}`,
    startedAt: now,
    round: 0,
  }
  return { phase: 'staged', plan, attempt: 0, proveAt: now, code: null }
}

/** A complete generation that is neither active nor staged may still be the one that works. */
function keepForSafety(
  generation: Generation,
  active: number | null,
  recovered: Staged | null,
  policy: Policy,
  now: number,
): Generation {
  const { number, certificate, compromised } = generation
  if (certificate === null || compromised) return generation
  if (active === null) return { ...generation, retireAt: null }
  if (recovered === null || generation.retireAt !== null) return generation
  return number === active || number === recovered.plan.generation
    ? generation
    : { ...generation, retireAt: now + policy.overlapMs }
}

/** Where the roll stands when nothing is under way. */
function resumeRoll(roll: Roll, generations: readonly Generation[], now: number): Roll {
  switch (roll.phase) {
    case 'storing':
      if (generations.some((g) => g.number === roll.plan.generation && g.certificate !== null))
        return { phase: 'staged', plan: roll.plan, attempt: 0, proveAt: now, code: null }
      return { ...roll, operation: null, attempt: 0, retryAt: now }
    case 'generating':
      return { ...roll, operation: null, attempt: 0, retryAt: now }
    case 'requesting': {
      if (!generations.some((g) => g.number === roll.plan.generation)) return regenerate(roll, now)
      return { ...roll, operation: null, attempt: 0, retryAt: roll.ticket === null ? now : roll.retryAt }
    }
    case 'staged':
    case 'proving':
    case 'switching': {
      const complete = generations.some((g) => g.number === roll.plan.generation && g.certificate !== null)
      if (!complete) return regenerate(roll, now)
      return { phase: 'staged', plan: roll.plan, attempt: 0, proveAt: now, code: null }
    }
    case 'idle':
    case 'retiring':
    case 'failed':
      return roll
  }
}

/** The key of the roll has vanished from the token: the same roll begins with a new key. */
function regenerate(roll: Extract<Roll, { plan: unknown }>, now: number): Roll {
  return { phase: 'generating', plan: roll.plan, operation: null, attempt: 0, retryAt: now }
}
