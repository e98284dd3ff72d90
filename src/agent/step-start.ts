import type { AgentEvent, FoundGeneration } from './events.ts'
import { change, type Draft } from './step-draft.ts'
import type { AgentState, Generation, Roll } from './states.ts'

type Started = Extract<AgentEvent, { kind: 'started' }>

/**
 * A process begins. What the token really holds replaces what was believed, and whatever was under way is forgotten:
 * planning begins it again, and every effect can be performed twice.
 */
export function startUp(draft: Draft, event: Started): void {
  const before = draft.state
  const generations = matchGenerations(before, event.found, draft.at)
  const active = activeAmong(before, generations)
  const numbers = event.found.map((found) => found.number)
  const identityExpected = before.active !== null || generations.some((g) => g.certificate !== null)
  change(draft, {
    running: true,
    policy: event.policy,
    commonName: event.commonName,
    generations,
    active,
    nextGeneration: Math.max(before.nextGeneration, ...numbers.map((number) => number + 1)),
    assignment: event.fixedAssignment ?? before.assignment,
    connection: { phase: 'offline' },
    destruction: null,
    roll: resumeRoll(before.roll, generations, draft.at),
    wakeAt: null,
  })
  const { roll, nextGeneration } = draft.state
  if (identityExpected || roll.phase !== 'idle' || event.bootstrap === null) return
  const { keyType, requestId } = event.bootstrap
  const plan = {
    generation: nextGeneration,
    mode: 'bootstrap' as const,
    keyType,
    requestId,
    startedAt: draft.at,
    round: 0,
  }
  change(draft, {
    nextGeneration: nextGeneration + 1,
    roll: { phase: 'generating', plan, operation: null, attempt: 0, retryAt: draft.at },
  })
}

/**
 * What is on the token, with what the journal knows of it. A complete generation that nobody knows becomes part of
 * the identity when the journal has none; otherwise what nobody knows was left by a crash and leaves.
 */
function matchGenerations(
  before: AgentState,
  found: readonly FoundGeneration[],
  now: number,
): readonly Generation[] {
  const planned = 'plan' in before.roll ? before.roll.plan.generation : null
  const identityLost = before.active === null
  return found
    .filter((item) => item.hasKey)
    .map(({ number, keyId, certificate }) => {
      const known = before.generations.find((g) => g.number === number)
      if (known !== undefined) return { ...known, keyId, certificate: certificate ?? known.certificate }
      const wanted = number === planned || (identityLost && certificate !== null)
      return { number, keyId, certificate, retireAt: wanted ? null : now, compromised: false }
    })
}

/**
 * The journaled pointer where its generation is still there. Without it, the lowest complete generation: it is either
 * active or kept for an overlap, and a higher one is proved with DPS like any staged generation.
 */
function activeAmong(before: AgentState, generations: readonly Generation[]): number | null {
  const complete = generations.filter((g) => g.certificate !== null && !g.compromised)
  if (complete.some((g) => g.number === before.active)) return before.active
  const planned = 'plan' in before.roll ? before.roll.plan.generation : null
  const unplanned = complete.filter((g) => g.number !== planned)
  return unplanned.length === 0 ? null : Math.min(...unplanned.map((g) => g.number))
}

/** Where the roll stands when nothing is under way. */
function resumeRoll(roll: Roll, generations: readonly Generation[], now: number): Roll {
  switch (roll.phase) {
    case 'generating':
    case 'storing':
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
