import type { AgentEvent, Failure } from './events.ts'
import { begin, change, changeGenerations, registering, type Draft } from './step-draft.ts'
import { dueAt, retryAt, scheduleOf } from './step-retry.ts'
import { nextOwnRoll } from './step-schedule.ts'
import type {
  AgentState,
  Assignment,
  CertificateFacts,
  Instant,
  Roll,
  RollPlan,
  RollRequest,
} from './states.ts'

type Working = Extract<
  Roll,
  { readonly retryAt: Instant; readonly plan: RollPlan; readonly operation: unknown }
>

/**
 * A roll was asked for: begin it, let a breach overtake an expiry roll, or remember it until there is room.
 *
 * @param round how often it has failed before
 */
export function requestRoll(draft: Draft, request: RollRequest, round = 0): void {
  const { roll, active } = draft.state
  if (active === null) return // the first certificate is on its way
  const wanted: RollRequest = {
    mode: request.mode,
    keyType: request.keyType,
    requestId: request.requestId,
  }
  switch (roll.phase) {
    case 'idle':
      return startRoll(draft, wanted)
    case 'failed':
    case 'retiring':
      // Old generations leave first, so that an expiry roll never makes a third; a breach does not wait for them.
      condemnLeftovers(draft)
      if (wanted.mode === 'breach') return startRoll(draft, wanted, round)
      if (roll.next === null) change(draft, { roll: { ...roll, next: wanted } })
      return
    case 'generating':
    case 'requesting':
    case 'storing':
    case 'staged':
      // A breach overtakes: what was made before it is not trusted. Anything else is already on its way.
      if (wanted.mode !== 'breach' || roll.plan.mode === 'breach') return
      condemn(draft, roll.plan.generation)
      return startRoll(draft, wanted)
    case 'proving':
    case 'switching':
      // The hub is about to move to the new generation: a breach begins right after that, from there.
      if (wanted.mode === 'breach' && roll.plan.mode !== 'breach')
        change(draft, { roll: { ...roll, overtakenBy: wanted } })
      return
  }
}

/** Results of the roll's own effects. Says whether the event was one. */
export function absorbRollEvent(draft: Draft, event: AgentEvent): boolean {
  const { roll } = draft.state
  if (!('operation' in event) || !('operation' in roll) || roll.operation !== event.operation) {
    if (event.kind === 'keyGenerated') condemnUnasked(draft, event.generation, event.keyId)
    return false
  }
  switch (event.kind) {
    case 'keyGenerated':
      if (roll.phase === 'generating') keyGenerated(draft, roll.plan, event.keyId)
      return true
    case 'certificateIssued':
      if (roll.phase === 'requesting') certificateIssued(draft, roll.plan, event.chain, event.certificate)
      return true
    case 'certificatePending':
      if (roll.phase === 'requesting') {
        const retry = dueAt(draft, 'retry', 0, event.retryAfterMs)
        change(draft, {
          roll: { ...roll, operation: null, ticket: event.ticket, attempt: 0, retryAt: retry },
        })
      }
      return true
    case 'certificateStored':
      if (roll.phase === 'storing') certificateStored(draft, roll.plan, roll.certificate)
      return true
    case 'registered':
      if (roll.phase === 'proving') proved(draft, roll, event.assignment)
      return true
    case 'operationFailed':
      stepFailed(draft, roll, event.failure)
      return true
    default:
      // hubConnected of a switch is the connection's to absorb: accepting it is what moves the pointer.
      return false
  }
}

/** A chain was brought for the generation that waits for one: what its issuer answers later comes too late. */
export function absorbDelivery(
  draft: Draft,
  delivery: Extract<AgentEvent, { kind: 'certificateDelivered' }>,
): void {
  const { roll } = draft.state
  if (roll.phase !== 'requesting' || roll.plan.generation !== delivery.generation) return
  certificateIssued(draft, roll.plan, delivery.chain, delivery.certificate)
}

/** Begins whatever the roll is due for. */
export function planRoll(draft: Draft): void {
  const { roll } = draft.state
  switch (roll.phase) {
    case 'idle':
    case 'proving':
    case 'switching':
      return
    case 'generating':
    case 'requesting':
    case 'storing':
      if (roll.operation === null && roll.retryAt <= draft.at && roomForKey(draft.state, roll))
        work(draft, roll)
      return
    case 'staged':
      if (roll.proveAt <= draft.at) prove(draft, roll)
      return
    case 'retiring':
      if (draft.state.generations.some((g) => g.retireAt !== null)) return
      if (roll.next === null) return change(draft, { roll: { phase: 'idle' } })
      startRoll(draft, roll.next)
      return planRoll(draft)
    case 'failed': {
      if (draft.state.generations.some((g) => g.retireAt !== null)) return
      const again = roll.retryAt !== null && roll.retryAt <= draft.at
      if (roll.next === null && !(again && draft.state.active === null)) return
      startRoll(draft, roll.next ?? roll.plan, again ? roll.plan.round + 1 : 0)
      return planRoll(draft)
    }
  }
}

/** When the roll has to be looked at again without any other event. */
export function rollDeadline(state: AgentState): Instant | null {
  const { roll, connection } = state
  switch (roll.phase) {
    case 'generating':
    case 'requesting':
    case 'storing':
      return roll.operation === null ? roll.retryAt : null
    case 'staged':
      return connection.phase === 'connected' || connection.phase === 'offline' ? roll.proveAt : null
    case 'failed':
      return roll.retryAt
    case 'idle':
    case 'proving':
    case 'switching':
    case 'retiring':
      return null
  }
}

/** Begins a roll with a number that was never used before. */
export function startRoll(draft: Draft, request: RollRequest, round = 0): void {
  const { nextGeneration } = draft.state
  const plan: RollPlan = {
    generation: nextGeneration,
    mode: request.mode,
    keyType: request.keyType,
    requestId: request.requestId,
    startedAt: draft.at,
    round,
  }
  change(draft, {
    nextGeneration: nextGeneration + 1,
    roll: { phase: 'generating', plan, operation: null, attempt: 0, retryAt: draft.at },
  })
}

/** Never more than two generations on the token, or three while a breach overtakes: others have to leave first. */
function roomForKey(state: AgentState, roll: Working): boolean {
  if (roll.phase !== 'generating') return true
  const others = state.generations.filter((g) => g.number !== roll.plan.generation)
  return others.length <= (roll.plan.mode === 'breach' ? 2 : 1)
}

function work(draft: Draft, roll: Working): void {
  const { plan } = roll
  switch (roll.phase) {
    case 'generating': {
      const operation = begin(draft, {
        kind: 'generateKey',
        generation: plan.generation,
        keyType: plan.keyType,
      })
      expectKey(draft, plan.generation)
      return change(draft, { roll: { ...roll, operation } })
    }
    case 'requesting': {
      const operation = begin(draft, {
        kind: 'requestCertificate',
        generation: plan.generation,
        model: draft.state.active,
        ticket: roll.ticket,
        requestId: plan.requestId,
        reason: plan.mode,
      })
      return change(draft, { roll: { ...roll, operation } })
    }
    case 'storing': {
      const { chain } = roll
      const operation = begin(draft, { kind: 'storeCertificate', generation: plan.generation, chain })
      return change(draft, { roll: { ...roll, operation } })
    }
  }
}

/** From now on the key may exist, whatever becomes of the answer: it is known, so that it can leave again. */
function expectKey(draft: Draft, number: number): void {
  const { generations } = draft.state
  if (generations.some((g) => g.number === number)) return
  const expected = { number, keyId: null, certificate: null, retireAt: null, compromised: false }
  change(draft, { generations: [...generations, expected] })
}

function keyGenerated(draft: Draft, plan: RollPlan, keyId: string): void {
  changeGenerations(draft, (g) => (g.number === plan.generation ? { ...g, keyId } : g))
  change(draft, {
    roll: { phase: 'requesting', plan, ticket: null, operation: null, attempt: 0, retryAt: draft.at },
  })
}

function certificateIssued(draft: Draft, plan: RollPlan, chain: string, certificate: CertificateFacts): void {
  // The runner has checked the chain; the name is checked once more, because a wrong one loses the device.
  if (certificate.commonName !== draft.state.commonName)
    return giveUp(draft, plan, {
      code: 'CERT_COMMON_NAME_CHANGED',
      retryable: false,
      retryAfterMs: null,
    })
  change(draft, {
    roll: { phase: 'storing', plan, chain, certificate, operation: null, attempt: 0, retryAt: draft.at },
  })
}

function certificateStored(draft: Draft, plan: RollPlan, certificate: CertificateFacts): void {
  changeGenerations(draft, (g) => (g.number === plan.generation ? { ...g, certificate } : g))
  change(draft, { roll: { phase: 'staged', plan, attempt: 0, proveAt: draft.at, code: null } })
  // A device that everybody has refused has something new to show now.
  const { connection } = draft.state
  const wantsDps = connection.phase === 'waiting' && connection.next === 'register'
  if (connection.phase === 'refused' || wantsDps)
    change(draft, { connection: { ...connection, until: draft.at } })
}

/**
 * Shows the new generation to DPS while the old connection stays up. Without a connection nothing is lost by
 * asking in turn, so then the connection's own search for a working generation does it.
 */
function prove(draft: Draft, roll: Extract<Roll, { phase: 'staged' }>): void {
  const { state } = draft
  const { plan, attempt } = roll
  if (state.connection.phase !== 'connected' || registering(state) || state.connection.moving !== null) return
  const { assignment } = state.connection
  if (!state.policy.dps) return beginSwitch(draft, roll, assignment)
  const operation = begin(draft, { kind: 'register', generation: plan.generation })
  draft.effects.push({ kind: 'prepareHub', generation: plan.generation, assignment })
  change(draft, { roll: { phase: 'proving', plan, attempt, operation }, reprovisionWanted: false })
}

/** DPS accepts the new generation: on to the hub, unless the key cannot be used any more. */
function proved(draft: Draft, roll: Extract<Roll, { phase: 'proving' }>, assignment: Assignment): void {
  const { tokenShut } = draft.state
  if (tokenShut === null) return beginSwitch(draft, roll, assignment)
  stepFailed(draft, roll, { code: tokenShut, retryable: false, retryAfterMs: null })
}

function beginSwitch(
  draft: Draft,
  roll: { plan: RollPlan; attempt: number; overtakenBy?: RollRequest },
  assignment: Assignment,
): void {
  const { plan, attempt, overtakenBy } = roll
  const operation = begin(draft, { kind: 'connectHub', generation: plan.generation, assignment })
  const overtaken = overtakenBy === undefined ? {} : { overtakenBy }
  change(draft, {
    assignment,
    roll: { phase: 'switching', plan, attempt, operation, assignment, ...overtaken },
  })
}

function stepFailed(draft: Draft, roll: Roll, failure: Failure): void {
  switch (roll.phase) {
    case 'generating':
    case 'requesting':
    case 'storing': {
      if (!failure.retryable) return giveUp(draft, roll.plan, failure)
      const retry = retryAt(draft, failure, roll.attempt)
      return change(draft, {
        roll: { ...roll, operation: null, attempt: roll.attempt + 1, retryAt: retry },
      })
    }
    case 'proving':
    case 'switching': {
      const { plan, attempt } = roll
      // Every proof is a registration, and what the hub does not know yet it may know in a while.
      const schedule = failure.code === 'HUB_UNAUTHORIZED' ? 'busy' : scheduleOf(failure)
      // Somebody asked for a registration while this one was under way: it is asked again at once.
      const again = retryAt(draft, failure, attempt, schedule)
      const proveAt = draft.state.reprovisionWanted ? draft.at : again
      const { code } = failure
      change(draft, { roll: { phase: 'staged', plan, attempt: attempt + 1, proveAt, code } })
      if (roll.overtakenBy !== undefined) requestRoll(draft, roll.overtakenBy)
      return
    }
    default:
      return
  }
}

/** The roll ends; its generation leaves the token, the active one was never touched. */
function giveUp(draft: Draft, plan: RollPlan, failure: Failure): void {
  const { active } = draft.state
  condemn(draft, plan.generation)
  const due = nextOwnRoll(draft.state)
  const wantedStill = active === null || (due !== null && due.at <= draft.at)
  const retry = wantedStill ? retryAt(draft, failure, plan.round, 'refusal') : null
  change(draft, { roll: { phase: 'failed', plan, code: failure.code, next: null, retryAt: retry } })
}

/** A key that came after its roll was given up or overtaken: it is known again, so that it is destroyed. */
function condemnUnasked(draft: Draft, number: number, keyId: string): void {
  const { generations } = draft.state
  if (generations.some((g) => g.number === number)) return
  const unasked = { number, keyId, certificate: null, retireAt: draft.at, compromised: false }
  change(draft, { generations: [...generations, unasked] })
}

/** This generation has to leave the token, as soon as it can be destroyed. */
export function condemn(draft: Draft, number: number): void {
  changeGenerations(draft, (g) => (g.number === number ? { ...g, retireAt: draft.at } : g))
}

/** Whatever is kept only for an overlap leaves now. */
function condemnLeftovers(draft: Draft): void {
  changeGenerations(draft, (g) =>
    g.retireAt === null ? g : { ...g, retireAt: Math.min(g.retireAt, draft.at) },
  )
}
