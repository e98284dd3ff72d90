import type { Effect } from './effects.ts'
import type { AgentEvent, Failure } from './events.ts'
import {
  absorbConnectionEvent,
  connectionDeadline,
  haltWithoutToken,
  planConnection,
} from './step-connection.ts'
import { begin, change, shutsToken, type Draft } from './step-draft.ts'
import { ownRollDeadline, planOwnRoll } from './step-ownroll.ts'
import { retryAt } from './step-retry.ts'
import { absorbDelivery, absorbRollEvent, planRoll, requestRoll, rollDeadline } from './step-roll.ts'
import { startUp } from './step-start.ts'
import { afterClockChange } from './step-clock.ts'
import type { AgentState, Destruction, Instant, Policy, RollWindow } from './states.ts'

/**
 * The whole life of a device's certificate, as one pure function: what happened goes in, the next state and what
 * has to be done come out. Total: every event is legal in every state, a stale result changes nothing.
 *
 * Each step has two halves. First the event is absorbed: facts change. Then the machine plans: whatever is due and
 * not under way is begun. Because plans follow from the state alone, a restart needs no memory of unfinished work:
 * `started` forgets what was under way, and planning begins it again.
 *
 * ```text
 * connection:  offline -> waiting -> connecting -> connected
 *                            ^  \        | unauthorized
 *                            |   \-> provisioning -> refused (by everybody; asks again slowly)
 * roll:        idle -> generating -> requesting -> storing -> staged -> proving -> switching -> retiring -> idle
 *                           \____________\___________\-> failed       ^___/___________/ refused: stays staged
 * ```
 *
 * @example
 * ```ts
 * const { state, effects } = step(initialState, { kind: 'started', ..., at: Date.now(), entropy: Math.random() })
 * ```
 */
export function step(
  before: AgentState,
  event: AgentEvent,
): { state: AgentState; effects: readonly Effect[] } {
  const draft: Draft = {
    state: afterClockChange(before, event.at),
    effects: [],
    at: event.at,
    entropy: event.entropy,
  }
  if (event.kind === 'started') startUp(draft, event)
  else if (event.kind === 'journalChecked') change(draft, { journalWritable: event.writable })
  else if (before.running) absorb(draft, event)
  else absorbWhileStopped(draft, event)
  // The event that could not be recorded follows: it may say that what is due must not begin.
  if (event.kind === 'journalChecked' && !event.writable) return { state: draft.state, effects: [] }
  if (draft.state.running) plan(draft)
  scheduleWake(draft, event.kind === 'woken')
  return { state: draft.state, effects: draft.effects }
}

/** The state before the first event. */
export function initialState(policy: Policy, commonName: string): AgentState {
  return {
    running: false,
    policy,
    commonName,
    generations: [],
    active: null,
    nextGeneration: 1,
    assignment: null,
    connection: { phase: 'offline' },
    roll: { phase: 'idle' },
    destruction: null,
    reprovisionWanted: false,
    lastOperation: 0,
    wakeAt: null,
    lastAt: null,
    journalWritable: true,
    tokenShut: null,
    rollWindow: null,
    lastRollAt: null,
  }
}

function absorb(draft: Draft, event: Exclude<AgentEvent, { kind: 'started' | 'journalChecked' }>): void {
  switch (event.kind) {
    case 'woken':
      return
    case 'stopRequested':
      return stop(draft)
    case 'rollRequested':
      return requestRoll(draft, event)
    case 'reprovisionRequested':
      return requestReprovisioning(draft)
    case 'rollWindowNamed':
      return absorbWindow(draft, event.window)
    case 'generationDestroyed':
      return absorbDestroyed(draft, event.operation)
    case 'operationFailed':
      if (shutsToken.has(event.failure.code)) change(draft, { tokenShut: event.failure.code })
      if (draft.state.destruction?.operation === event.operation)
        return absorbNotDestroyed(draft, draft.state.destruction, event.failure)
      if (absorbRollEvent(draft, event)) return
      absorbConnectionEvent(draft, event)
      return
    case 'certificateDelivered':
      return absorbDelivery(draft, event)
    case 'keyGenerated':
    case 'certificateIssued':
    case 'certificatePending':
    case 'certificateStored':
      absorbRollEvent(draft, event)
      return
    case 'registered':
    case 'hubConnected':
      if (absorbRollEvent(draft, event)) return
      absorbConnectionEvent(draft, event)
      return
    case 'hubDisconnected':
      absorbConnectionEvent(draft, event)
      return
  }
}

/** A stopped agent holds no connection: one that still comes in is closed. */
function absorbWhileStopped(draft: Draft, event: AgentEvent): void {
  if (event.kind === 'hubConnected')
    draft.effects.push({ kind: 'closeConnection', operation: event.operation })
}

/**
 * With a disk that refuses records the connection is kept up, and nothing else begins. With a token that cannot be
 * used until the next start nothing begins at all.
 */
function plan(draft: Draft): void {
  if (draft.state.tokenShut !== null) return haltWithoutToken(draft, draft.state.tokenShut)
  if (draft.state.journalWritable) {
    planOwnRoll(draft)
    planDestruction(draft)
    planRoll(draft)
  }
  planConnection(draft)
}

function stop(draft: Draft): void {
  draft.effects.push({ kind: 'abandonAll' })
  change(draft, { running: false, connection: { phase: 'offline' } })
}

/**
 * A staged generation is proved now; otherwise the present one is registered again. Without DPS there is nothing to
 * register with: whatever waits for a hub tries it now.
 */
function requestReprovisioning(draft: Draft): void {
  const { roll, connection, policy } = draft.state
  if (roll.phase === 'staged') change(draft, { roll: { ...roll, attempt: 0, proveAt: draft.at } })
  if (policy.dps) return change(draft, { reprovisionWanted: true })
  if (connection.phase === 'waiting' || connection.phase === 'refused')
    change(draft, { connection: { ...connection, until: draft.at } })
}

/** The cloud repeats itself at every connection: a window that is known keeps what became of it. */
function absorbWindow(draft: Draft, window: RollWindow | null): void {
  const known = draft.state.rollWindow
  if (window === null) return known?.source === 'twin' ? change(draft, { rollWindow: null }) : undefined
  const same = known?.start === window.start && known.end === window.end && known.mode === window.mode
  if (!same) change(draft, { rollWindow: { ...window, served: false } })
}

// Destroying what is no longer wanted: never the active generation, never one that a roll works on, one at a time.

function planDestruction(draft: Draft): void {
  const { state } = draft
  const { destruction } = state
  if (destruction !== null) {
    if (destruction.operation !== null || destruction.retryAt > draft.at) return
    if (!mayDestroy(state, destruction.generation)) return change(draft, { destruction: null })
    const operation = begin(draft, { kind: 'destroyGeneration', generation: destruction.generation })
    return change(draft, { destruction: { ...destruction, operation } })
  }
  const due = state.generations.find(
    (g) => g.retireAt !== null && g.retireAt <= draft.at && mayDestroy(state, g.number),
  )
  if (due === undefined) return
  const operation = begin(draft, { kind: 'destroyGeneration', generation: due.number })
  change(draft, { destruction: { generation: due.number, operation, attempt: 0, retryAt: draft.at } })
}

/** Whether nothing depends on this generation: the last line of defence for the only working key. */
function mayDestroy(state: AgentState, number: number): boolean {
  if (number === state.active) return false
  const { connection, roll } = state
  if ('generation' in connection && connection.generation === number) return false
  if (roll.phase === 'idle' || roll.phase === 'failed' || roll.phase === 'retiring') return true
  return roll.plan.generation !== number
}

function absorbDestroyed(draft: Draft, operation: number): void {
  const { destruction, generations } = draft.state
  if (destruction?.operation !== operation) return
  change(draft, {
    destruction: null,
    generations: generations.filter((g) => g.number !== destruction.generation),
  })
}

function absorbNotDestroyed(draft: Draft, destruction: Destruction, failure: Failure): void {
  const retry = retryAt(draft, failure, destruction.attempt, 'retry')
  const attempt = destruction.attempt + 1
  change(draft, { destruction: { ...destruction, operation: null, attempt, retryAt: retry } })
}

/** One timer for everything: the earliest deadline that lies ahead. */
function scheduleWake(draft: Draft, timerConsumed: boolean): void {
  const { state } = draft
  const wakeAt = state.running ? earliestDeadline(state, draft.at) : null
  if (wakeAt === state.wakeAt && !(timerConsumed && wakeAt !== null)) return
  change(draft, { wakeAt })
  draft.effects.push({ kind: 'wakeAt', at: wakeAt })
}

function earliestDeadline(state: AgentState, now: Instant): Instant | null {
  const deadlines = [
    connectionDeadline(state),
    rollDeadline(state),
    ownRollDeadline(state),
    state.destruction?.operation === null ? state.destruction.retryAt : null,
    ...state.generations.filter((g) => mayDestroy(state, g.number)).map((g) => g.retireAt),
  ]
  const ahead = deadlines.filter((deadline) => deadline !== null && deadline > now) as Instant[]
  return ahead.length === 0 ? null : Math.min(...ahead)
}
