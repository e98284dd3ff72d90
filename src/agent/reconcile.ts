import type { FoundGeneration } from './events.ts'
import type { AgentState, Generation, Instant, Roll } from './states.ts'

/** What a process that begins goes on with. */
export interface Reconciled {
  readonly generations: readonly Generation[]
  readonly active: number | null
  readonly roll: Roll
  readonly nextGeneration: number
}

type Staged = Extract<Roll, { phase: 'staged' }>

/**
 * What the token really holds, against what the journal says. The token is believed in what is there, the journal in
 * what it was for: which generation a hub has accepted, what a roll works on, what is compromised, what may go.
 *
 * - **resume** where the token has what the journal expects;
 * - **roll forward** where the token is ahead: a complete generation that the journal does not know was staged or in
 *   use already, and proving it is right in both cases. A key is journaled before it is made, so a crash alone cannot
 *   do that: the journal was lost, or an older one was put back;
 * - **roll back** where the token is behind: what a roll had made has vanished, so it begins anew;
 * - **clean up** what can never work, being half of a generation, but only beside an active generation that is whole.
 *
 * A generation that the journal knew once and let go of is not taken up again beside an active one: a token that was
 * restored from a copy may bring back a compromised key.
 *
 * A certificate with another common name is another device's: its generation is left alone, and its number too.
 */
export function reconcile(
  journal: AgentState,
  found: readonly FoundGeneration[],
  commonName: string,
  now: Instant,
): Reconciled {
  const ours = found.filter((each) => each.certificate === null || each.certificate.commonName === commonName)
  const whole = ours.map((each) => believed(journal, each))
  const usable = whole.filter((g) => g.certificate !== null && !g.compromised)
  const active = usable.some((g) => g.number === journal.active) ? journal.active : null
  const free = Math.max(journal.nextGeneration, ...found.map(({ number }) => number + 1))
  const foreign = found.filter((each) => !ours.includes(each)).map(({ number }) => number)
  const resumed = resume(journal.roll, ours, foreign, free, now)
  const ahead = usable.filter((g) => g.number >= journal.nextGeneration).map((g) => g.number)
  const roll = ahead.length === 0 ? resumed : rollForward(active, Math.max(...ahead), now)
  const spared = active === null ? leftoverToSpare(journal, ours) : null
  return {
    generations: whole.map((g) => ({ ...g, retireAt: leavesAt(journal, g, { active, roll, spared, now }) })),
    active,
    roll,
    nextGeneration: Math.max(free, (plannedBy(roll) ?? 0) + 1),
  }
}

/** The roll that takes up a generation which is complete on the token and which no roll of the journal is about. */
export function recoveredRoll(
  generation: number,
  now: Instant,
  proveAt: Instant,
  code: Staged['code'],
): Staged {
  const plan = {
    generation,
    mode: 'expiry' as const,
    keyType: 'EC-P256' as const,
    requestId: `recovered-${generation}`,
    startedAt: now,
    round: 0,
  }
  return { phase: 'staged', plan, attempt: code === null ? 0 : 1, proveAt, code }
}

/** The generation that a roll still works on. */
export function plannedBy(roll: Roll): number | null {
  return roll.phase === 'idle' || roll.phase === 'retiring' || roll.phase === 'failed'
    ? null
    : roll.plan.generation
}

/** A generation of the token, with what the journal knows of it. */
function believed(journal: AgentState, { number, keyId, certificate, hasKey }: FoundGeneration): Generation {
  const known = journal.generations.find((g) => g.number === number)
  return {
    number,
    keyId,
    certificate: hasKey ? certificate : null,
    retireAt: known?.retireAt ?? null,
    compromised: known?.compromised ?? false,
  }
}

/**
 * What the journal's roll was about lies behind. With the pointer gone as well no roll is invented: DPS is asked
 * generation by generation which one works.
 */
function rollForward(active: number | null, newest: number, now: Instant): Roll {
  return active === null ? { phase: 'idle' } : recoveredRoll(newest, now, now, null)
}

/** When a generation leaves the token; `null` while it is wanted, or may be the only one that works. */
function leavesAt(
  journal: AgentState,
  generation: Generation,
  decided: {
    readonly active: number | null
    readonly roll: Roll
    readonly spared: number | null
    readonly now: Instant
  },
): Instant | null {
  const { number, certificate, compromised, retireAt } = generation
  const { active, roll, spared, now } = decided
  if (compromised) return retireAt ?? now
  if (number === active || number === plannedBy(roll)) return null
  if (certificate === null) return number === spared ? null : now
  if (active === null || number >= journal.nextGeneration) return null
  return journal.generations.some((g) => g.number === number) ? retireAt : now
}

/**
 * While no generation is known to work, one half of a generation is spared until a hub has accepted another: the
 * certificate of a key may be put back, a key may only be out of sight. One, so that a device that never gets that
 * far does not fill its token.
 */
function leftoverToSpare(journal: AgentState, ours: readonly FoundGeneration[]): number | null {
  const halves = ours.filter(({ hasKey, certificate }) => !hasKey || certificate === null)
  if (halves.some(({ number }) => number === journal.active)) return journal.active
  const withKey = halves.filter(({ hasKey }) => hasKey)
  const preferred = withKey.length > 0 ? withKey : halves
  return preferred.length === 0 ? null : Math.max(...preferred.map(({ number }) => number))
}

/** Where the roll of the journal stands when nothing is under way. */
function resume(
  roll: Roll,
  ours: readonly FoundGeneration[],
  foreign: readonly number[],
  free: number,
  now: Instant,
): Roll {
  if (roll.phase === 'idle' || roll.phase === 'retiring' || roll.phase === 'failed') return roll
  const { plan } = roll
  const generation = ours.find(({ number, hasKey }) => number === plan.generation && hasKey)
  if (generation !== undefined && generation.certificate !== null)
    return { phase: 'staged', plan, attempt: 0, proveAt: now, code: null }
  if (generation !== undefined && (roll.phase === 'requesting' || roll.phase === 'storing')) {
    const asksLater = roll.phase === 'requesting' && roll.ticket !== null
    return { ...roll, operation: null, attempt: 0, retryAt: asksLater ? roll.retryAt : now }
  }
  // The key is not made yet, or what the roll had made has vanished: it begins with a new key.
  const taken = foreign.includes(plan.generation)
  return {
    phase: 'generating',
    plan: taken ? { ...plan, generation: free } : plan,
    operation: null,
    attempt: 0,
    retryAt: now,
  }
}
