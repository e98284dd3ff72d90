import type { AgentEvent, FoundGeneration } from './events.ts'
import { candidates, change, type Draft } from './step-draft.ts'
import { requestRoll, startRoll } from './step-roll.ts'
import type { AgentState, Generation, Instant, Roll } from './states.ts'

type Started = Extract<AgentEvent, { kind: 'started' }>
type Staged = Extract<Roll, { phase: 'staged' }>

/**
 * A process begins. What the token really holds replaces what was believed, and whatever was under way is forgotten:
 * planning begins it again, and every effect can be performed twice.
 */
export function startUp(draft: Draft, event: Started): void {
  const before = draft.state
  const generations = event.found.map((found) => identify(before, found, draft.at))
  const active = activeAmong(before, generations)
  const resumed = resumeRoll(before.roll, generations, draft.at)
  const recovered = recoverStaged(before, generations, active, draft.at)
  const numbers = event.found.map((found) => found.number)
  change(draft, {
    running: true,
    policy: event.policy,
    commonName: event.commonName,
    generations: generations.map((g) => keepForSafety(before, g, active, recovered, draft.at)),
    active,
    nextGeneration: Math.max(before.nextGeneration, ...numbers.map((number) => number + 1)),
    assignment: event.fixedAssignment ?? before.assignment,
    connection: { phase: 'offline' },
    destruction: null,
    roll: recovered ?? resumed,
    wakeAt: null,
    journalWritable: true,
  })
  if ('overtakenBy' in before.roll) requestRoll(draft, before.roll.overtakenBy)
  const { roll } = draft.state
  const rolling = roll.phase !== 'idle' && roll.phase !== 'retiring' && roll.phase !== 'failed'
  if (candidates(draft).length > 0 || rolling || (roll.phase === 'failed' && roll.retryAt !== null)) return
  // The device has no identity, or its token lost it: it gets one, or it says what is missing.
  if (event.bootstrap === null)
    return change(draft, { connection: { phase: 'halted', code: 'HSM_KEY_NOT_FOUND' } })
  startRoll(draft, { mode: 'bootstrap', ...event.bootstrap })
}

/** A generation of the token, with what the journal knows of it. */
function identify(before: AgentState, found: FoundGeneration, now: Instant): Generation {
  const { number, keyId, hasKey } = found
  const known = before.generations.find((g) => g.number === number)
  if (!hasKey) {
    // Certificates without their key: what a destruction that was cut off has left.
    const retireAt = number === before.active ? null : now
    return { number, keyId, certificate: null, retireAt, compromised: known?.compromised ?? false }
  }
  if (known !== undefined) return { ...known, keyId, certificate: found.certificate ?? known.certificate }
  const planned = 'plan' in before.roll && before.roll.plan.generation === number
  const wanted = planned || found.certificate !== null
  return { number, keyId, certificate: found.certificate, retireAt: wanted ? null : now, compromised: false }
}

/** A complete generation that the journal has never heard of, and that may be the only one that works. */
function isForeign(before: AgentState, generation: Generation): boolean {
  return generation.certificate !== null && !before.generations.some((g) => g.number === generation.number)
}

/**
 * The journaled pointer where its generation is still there. With the journal lost, the lowest complete generation:
 * it is either active or kept for an overlap, and a higher one is proved with DPS like any staged generation.
 */
function activeAmong(before: AgentState, generations: readonly Generation[]): number | null {
  const complete = generations.filter((g) => g.certificate !== null && !g.compromised)
  if (complete.some((g) => g.number === before.active)) return before.active
  const journalLost = before.nextGeneration === 1
  return journalLost && complete.length > 0 ? Math.min(...complete.map((g) => g.number)) : null
}

/**
 * The token is ahead of the journal: the journal was lost, or an older one was put back. A key is journaled before it
 * is made, so a crash alone cannot do that. The highest complete generation the journal does not know was staged, or
 * active already: proving it is right in both cases.
 */
function recoverStaged(
  before: AgentState,
  generations: readonly Generation[],
  active: number | null,
  now: Instant,
): Staged | null {
  const planned = 'plan' in before.roll ? before.roll.plan.generation : null
  const foreign = generations.filter(
    (g) => isForeign(before, g) && g.number !== planned && g.number !== active,
  )
  if (foreign.length === 0) return null
  const highest = Math.max(...foreign.map((g) => g.number))
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

/** While it is not certain which generation works, none that could is on its way out. */
function keepForSafety(
  before: AgentState,
  generation: Generation,
  active: number | null,
  recovered: Staged | null,
  now: Instant,
): Generation {
  const { number, certificate, compromised } = generation
  // The roll of an older journal is not taken up again, so what it had begun leaves.
  if (certificate === null && recovered !== null && number !== active) return { ...generation, retireAt: now }
  if (certificate === null || compromised) return generation
  return active === null || isForeign(before, generation) ? { ...generation, retireAt: null } : generation
}

/** Where the roll stands when nothing is under way. */
function resumeRoll(roll: Roll, generations: readonly Generation[], now: Instant): Roll {
  if (roll.phase === 'idle' || roll.phase === 'retiring' || roll.phase === 'failed') return roll
  const { plan } = roll
  const generation = generations.find((g) => g.number === plan.generation)
  if (generation !== undefined && generation.certificate !== null)
    return { phase: 'staged', plan, attempt: 0, proveAt: now, code: null }
  switch (roll.phase) {
    case 'generating':
    case 'storing':
      return { ...roll, operation: null, attempt: 0, retryAt: now }
    case 'requesting':
      if (generation === undefined) break
      return { ...roll, operation: null, attempt: 0, retryAt: roll.ticket === null ? now : roll.retryAt }
    case 'staged':
    case 'proving':
    case 'switching':
      break
  }
  // What the roll had made has vanished from the token: the same roll begins with a new key.
  return { phase: 'generating', plan, operation: null, attempt: 0, retryAt: now }
}
