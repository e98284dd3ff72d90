import type { AgentEvent, Failure } from './events.ts'
import { begin, candidates, change, shutsToken, registering, type Draft } from './step-draft.ts'
import { retryAt } from './step-retry.ts'
import { commit } from './step-commit.ts'
import type { AgentState, Assignment, Connection, ErrorCode, Instant } from './states.ts'

type Connected = Extract<Connection, { phase: 'connected' }>
type Connecting = Extract<Connection, { phase: 'connecting' }>
type Waiting = Extract<Connection, { phase: 'waiting' }>
type Provisioning = Extract<Connection, { phase: 'provisioning' }>

/** Results of the connection's own effects, and of a roll's switch once the hub has accepted it. */
export function absorbConnectionEvent(draft: Draft, event: AgentEvent): void {
  switch (event.kind) {
    case 'registered':
      return absorbRegistered(draft, event.operation, event.assignment)
    case 'hubConnected':
      return absorbConnected(draft, event.operation)
    case 'hubDisconnected':
      return absorbLost(draft, event.operation, event.failure)
    case 'operationFailed':
      return absorbFailed(draft, event.operation, event.failure)
    default:
      return
  }
}

/** Begins whatever the connection is due for. */
export function planConnection(draft: Draft): void {
  const { state } = draft
  const { connection, policy } = state
  switch (connection.phase) {
    case 'offline':
      // A device without any identity waits for its first certificate.
      return candidates(draft).length === 0 ? undefined : findHub(draft, 0, 'connect')
    case 'waiting': {
      const rollIsOver = state.roll.phase !== 'proving' && state.roll.phase !== 'switching'
      const due =
        connection.until <= draft.at || state.reprovisionWanted || (connection.forRoll && rollIsOver)
      if (due) findHub(draft, connection.attempt, connection.next)
      return
    }
    case 'refused':
      if (connection.until <= draft.at || state.reprovisionWanted)
        findHub(draft, connection.attempt, 'register')
      return
    case 'connected': {
      const { registering: refresh } = connection
      const wanted = refresh === null ? state.reprovisionWanted : refresh.retryAt <= draft.at
      if (!policy.dps)
        return state.reprovisionWanted ? change(draft, { reprovisionWanted: false }) : undefined
      if (wanted && !busyWithHub(state, connection)) refreshRegistration(draft, connection)
      return
    }
    case 'provisioning':
    case 'connecting':
    case 'halted':
      return
  }
}

/** A connection that is up, or whose outcome is still to come, stays; one that would have to be made has to wait. */
export function haltWithoutToken(draft: Draft, code: ErrorCode): void {
  const { phase } = draft.state.connection
  if (phase === 'offline' || phase === 'waiting' || phase === 'refused') halt(draft, code)
}

function halt(draft: Draft, code: ErrorCode): void {
  change(draft, { connection: { phase: 'halted', code } })
}

/** When the connection has to be looked at again without any other event. */
export function connectionDeadline(state: AgentState): Instant | null {
  const { connection } = state
  switch (connection.phase) {
    case 'waiting':
    case 'refused':
      return connection.until
    case 'connected':
      return connection.registering?.operation === null ? connection.registering.retryAt : null
    case 'offline':
    case 'provisioning':
    case 'connecting':
    case 'halted':
      return null
  }
}

function busyWithHub(state: AgentState, connection: Connected): boolean {
  return registering(state) || state.roll.phase === 'switching' || connection.moving !== null
}

/** The present generation registers again while the connection stays up. */
function refreshRegistration(draft: Draft, connection: Connected): void {
  const operation = begin(draft, { kind: 'register', generation: connection.generation })
  const attempt = connection.registering?.attempt ?? 0
  change(draft, {
    reprovisionWanted: false,
    connection: { ...connection, registering: { operation, attempt, retryAt: draft.at } },
  })
}

/** Connects with the active generation, or asks DPS where to connect. */
function findHub(draft: Draft, attempt: number, next: 'connect' | 'register'): void {
  const { state } = draft
  const { assignment, connection, policy } = state
  const [generation] = candidates(draft)
  if (generation === undefined) return change(draft, { connection: { phase: 'offline' } })
  const knowsHub = assignment !== null && state.active !== null
  const ask = policy.dps && (next === 'register' || state.reprovisionWanted || !knowsHub)
  if (!ask && assignment !== null)
    return connect(draft, { generation, assignment, attempt, refused: [], registered: false })
  const unreachable = connection.phase === 'waiting' && connection.code !== 'HUB_UNAUTHORIZED'
  const otherwise = unreachable && knowsHub ? 'connect' : 'register'
  register(draft, { generation, attempt, refused: [], otherwise })
}

/** There is one registration at a time: a roll that is about to connect comes first. */
function register(draft: Draft, wanted: Omit<Provisioning, 'phase' | 'operation'>): void {
  const { roll, policy } = draft.state
  if (roll.phase === 'proving' || roll.phase === 'switching') {
    const until = draft.at + policy.switchGraceMs
    return wait(draft, { until, next: 'register', attempt: wanted.attempt, code: null, forRoll: true })
  }
  const operation = begin(draft, { kind: 'register', generation: wanted.generation })
  change(draft, { reprovisionWanted: false, connection: { phase: 'provisioning', operation, ...wanted } })
}

function connect(draft: Draft, wanted: Omit<Connecting, 'phase' | 'operation'>): void {
  const { generation, assignment } = wanted
  const operation = begin(draft, { kind: 'connectHub', generation, assignment })
  change(draft, { connection: { phase: 'connecting', operation, ...wanted } })
}

function absorbRegistered(draft: Draft, operation: number, assignment: Assignment): void {
  const { connection, tokenShut } = draft.state
  if (connection.phase === 'provisioning' && connection.operation === operation) {
    change(draft, { assignment })
    if (tokenShut !== null) return halt(draft, tokenShut)
    // A registration counts as a try: a hub that refuses what DPS has just assigned is met with more patience.
    const { generation, attempt, refused } = connection
    return connect(draft, { generation, assignment, attempt: attempt + 1, refused, registered: true })
  }
  if (connection.phase !== 'connected' || connection.registering?.operation !== operation) return
  const here = connection.assignment
  const moved = assignment.hub !== here.hub || assignment.deviceId !== here.deviceId
  const moving =
    moved && tokenShut === null
      ? begin(draft, { kind: 'connectHub', generation: connection.generation, assignment })
      : null
  change(draft, { assignment, connection: { ...connection, registering: null, moving } })
}

/** The hub has accepted a generation: this is the one place where a connection begins and the pointer moves. */
function absorbConnected(draft: Draft, operation: number): void {
  const accepted = acceptedBy(draft.state, operation)
  if (accepted === null) {
    draft.effects.push({ kind: 'closeConnection', operation })
    return
  }
  const { connection } = draft.state
  if (connection.phase === 'connected')
    draft.effects.push({ kind: 'closeConnection', operation: connection.operation })
  change(draft, {
    connection: {
      phase: 'connected',
      operation,
      generation: accepted.generation,
      assignment: accepted.assignment,
      since: draft.at,
      attempt: 'attempt' in connection ? connection.attempt : 0,
      registering: null,
      moving: null,
    },
  })
  commit(draft, accepted.generation)
}

function acceptedBy(
  state: AgentState,
  operation: number,
): { generation: number; assignment: Assignment } | null {
  const { connection, roll } = state
  if (roll.phase === 'switching' && roll.operation === operation)
    return { generation: roll.plan.generation, assignment: roll.assignment }
  if (connection.phase === 'connecting' && connection.operation === operation) return connection
  if (connection.phase === 'connected' && connection.moving === operation && state.assignment !== null)
    return { generation: connection.generation, assignment: state.assignment }
  return null
}

function absorbLost(draft: Draft, operation: number, failure: Failure): void {
  const { connection, roll, policy } = draft.state
  if (connection.phase !== 'connected' || connection.operation !== operation) return
  const attempt = isStable(draft, connection) ? 0 : connection.attempt + 1
  const forRoll = roll.phase === 'proving' || roll.phase === 'switching'
  const until = forRoll ? draft.at + policy.switchGraceMs : retryAt(draft, failure, attempt, 'lost')
  const { registering, generation } = connection
  if (typeof registering?.operation === 'number') {
    // The registration beside the connection goes on; it is now what the connection waits for.
    const { operation: underWay } = registering
    return change(draft, {
      connection: {
        phase: 'provisioning',
        operation: underWay,
        generation,
        attempt,
        refused: [],
        otherwise: 'connect',
      },
    })
  }
  const next = connection.moving === null ? 'connect' : 'register'
  change(draft, {
    reprovisionWanted: draft.state.reprovisionWanted || registering !== null,
    connection: { phase: 'waiting', until, next, attempt, code: failure.code, forRoll },
  })
}

/** What failed before a connection that lasted is forgotten. */
function isStable({ at, state: { policy } }: Draft, { since }: Connected): boolean {
  return at - since >= policy.stableAfterMs
}

function absorbFailed(draft: Draft, operation: number, failure: Failure): void {
  const { connection } = draft.state
  if (connection.phase === 'connected') {
    if (connection.moving === operation) return moveFailed(draft, connection, failure)
    if (connection.registering?.operation !== operation) return
    const { attempt } = connection.registering
    const retry = retryAt(draft, failure, attempt)
    const again = { operation: null, attempt: attempt + 1, retryAt: retry }
    return change(draft, { connection: { ...connection, registering: failure.retryable ? again : null } })
  }
  if (connection.phase !== 'connecting' && connection.phase !== 'provisioning') return
  if (connection.operation !== operation) return
  if (shutsToken.has(failure.code)) return halt(draft, failure.code)
  return connection.phase === 'connecting'
    ? connectFailed(draft, connection, failure)
    : registerFailed(draft, connection, failure)
}

/**
 * DPS has moved the device, so the old hub has no future; the new one is tried until it answers. Without the token it
 * cannot be tried, and the old connection is better than none.
 */
function moveFailed(draft: Draft, connection: Connected, failure: Failure): void {
  if (draft.state.tokenShut !== null) return change(draft, { connection: { ...connection, moving: null } })
  draft.effects.push({ kind: 'closeConnection', operation: connection.operation })
  const attempt = isStable(draft, connection) ? 0 : connection.attempt
  const until = retryAt(draft, failure, attempt)
  const next = failure.code === 'HUB_UNAUTHORIZED' ? 'register' : 'connect'
  wait(draft, { until, next, attempt: attempt + 1, code: failure.code })
}

function connectFailed(draft: Draft, connection: Connecting, failure: Failure): void {
  const { policy } = draft.state
  const attempt = connection.attempt + 1
  if (failure.code === 'HUB_UNAUTHORIZED' && policy.dps) {
    if (isBeyondDps(draft.state, connection)) return tryNextGeneration(draft, connection, failure)
    const until = retryAt(draft, failure, connection.attempt)
    return wait(draft, { until, next: 'register', attempt, code: failure.code })
  }
  if (!failure.retryable) return tryNextGeneration(draft, connection, failure)
  const until = retryAt(draft, failure, connection.attempt)
  const askDps = policy.dps && attempt % policy.askDpsAfterAttempts === 0
  wait(draft, { until, next: askDps ? 'register' : 'connect', attempt, code: failure.code })
}

/**
 * DPS has sent this generation to the hub, and after some patience the hub still refuses it: DPS does not know what
 * the hub goes by, as with a certificate that the service issued and revoked. A staged generation may be what it wants.
 */
function isBeyondDps(
  { roll }: AgentState,
  { registered, attempt, generation, refused }: Connecting,
): boolean {
  // From a connection that was well: two refusals, and two registrations after them.
  if (!registered || attempt < 4 || roll.phase !== 'staged') return false
  const staged = roll.plan.generation
  return staged !== generation && !refused.includes(staged)
}

function registerFailed(draft: Draft, connection: Provisioning, failure: Failure): void {
  if (!failure.retryable) return tryNextGeneration(draft, connection, failure)
  const until = retryAt(draft, failure, connection.attempt)
  wait(draft, { until, next: connection.otherwise, attempt: connection.attempt + 1, code: failure.code })
}

/** This generation was refused, or its key cannot be used: another may still work. */
function tryNextGeneration(draft: Draft, connection: Connecting | Provisioning, failure: Failure): void {
  const { state } = draft
  if (state.tokenShut !== null) return halt(draft, state.tokenShut)
  const refused = [...connection.refused, connection.generation]
  const next = candidates(draft).find((number) => !refused.includes(number))
  if (next === undefined) {
    const attempt = connection.attempt + 1
    const until = retryAt(draft, failure, connection.attempt, 'refusal')
    return change(draft, { connection: { phase: 'refused', until, attempt, code: failure.code } })
  }
  if (!state.policy.dps && state.assignment !== null)
    return connect(draft, {
      generation: next,
      assignment: state.assignment,
      attempt: connection.attempt,
      refused,
      registered: false,
    })
  const otherwise = connection.phase === 'provisioning' ? connection.otherwise : 'register'
  register(draft, { generation: next, attempt: connection.attempt, refused, otherwise })
}

function wait(
  draft: Draft,
  waiting: Omit<Waiting, 'phase' | 'forRoll'> & { readonly forRoll?: boolean },
): void {
  change(draft, { connection: { forRoll: false, ...waiting, phase: 'waiting' } })
}
