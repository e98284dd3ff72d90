import { LeafkeeperError, type ErrorCode } from '../errors.ts'
import type { Registration } from '../provisioning/provisioning-service.ts'
import type { DeviceAgentEvents, RollReport } from './agent-events.ts'
import type { Effect } from './effects.ts'
import { retriesOf } from './retries.ts'
import type { RollWaiters } from './roll-waiters.ts'
import type { ObservedStep } from './runner.ts'
import type { AgentState, CertificateFacts, Instant, RollMode, RollPlan } from './states.ts'

/** Emits one event of the agent. */
export type Tell = <Name extends keyof DeviceAgentEvents>(
  name: Name,
  ...args: DeviceAgentEvents[Name]
) => void

/** How a roll ended. */
export interface LastRoll {
  readonly at: Instant
  readonly generation: number
  readonly mode: RollMode
  readonly result: 'rolled' | 'failed'
  readonly code: ErrorCode | null
}

/** Turns the steps of the machine into the events that users listen to. */
export class Narrator {
  readonly #tell: Tell
  readonly #waiters: RollWaiters
  readonly #blackoutMs: () => number | null
  #lastError: LeafkeeperError | null = null
  #lastEnd: LeafkeeperError | null = null
  #lastRoll: LastRoll | null = null
  /** What the token was shut for, which a halt is told with; by then other things may have failed. */
  #tokenShut: LeafkeeperError | null = null

  constructor(tell: Tell, waiters: RollWaiters, blackoutMs: () => number | null) {
    this.#tell = tell
    this.#waiters = waiters
    this.#blackoutMs = blackoutMs
  }

  /** What became of the last roll of this process. */
  get lastRoll(): LastRoll | null {
    return this.#lastRoll
  }

  /** The last thing that failed since the connection came up. */
  get lastError(): LeafkeeperError | null {
    return this.#lastError
  }

  failed(effect: Effect, error: LeafkeeperError): void {
    this.#lastError = error
    this.#tell('problem', { error, during: effect.kind })
    if (error.code === 'HUB_UNAUTHORIZED') this.#tell('unauthorized', error)
  }

  journalFailed(error: LeafkeeperError): void {
    this.#lastError = error
    this.#tell('problem', { error, during: 'journal' })
  }

  /** The device is as well without its twin, so this is not what ails it. */
  twinFailed(error: LeafkeeperError): void {
    this.#tell('problem', { error, during: 'twin' })
  }

  /** A connection has ended; whether that leaves the device without one, the machine says. */
  ended(error: LeafkeeperError): void {
    this.#lastEnd = error
  }

  registered(generation: number, { assignedHub, deviceId, substatus }: Registration): void {
    this.#tell('registered', { generation, assignment: { hub: assignedHub, deviceId }, substatus })
  }

  observe(step: ObservedStep): void {
    if (step.event.kind === 'rollRequested') this.#waiters.taken(step.event.requestId)
    const { tokenShut } = step.after
    if (tokenShut !== step.before.tokenShut)
      this.#tokenShut = tokenShut === null ? null : this.#lastWith(tokenShut)
    this.#tellTransitions(step)
    this.#tellConnection(step)
    this.#tellRoll(step)
    this.#tellRetired(step)
    for (const retry of retriesOf(step)) this.#tell('retry', retry)
    this.#waiters.settle(step.after)
  }

  #tellTransitions({ before, after, event }: ObservedStep): void {
    const at = new Date(event.at)
    const connection = { from: before.connection.phase, to: after.connection.phase }
    if (connection.from !== connection.to)
      this.#tell('transition', { region: 'connection', ...connection, at })
    const roll = { from: before.roll.phase, to: after.roll.phase }
    if (roll.from !== roll.to) this.#tell('transition', { region: 'roll', ...roll, at })
  }

  #tellConnection({ before, after, event }: ObservedStep): void {
    const { connection } = after
    const lost = before.connection.phase === 'connected' && connection.phase !== 'connected'
    if (lost && event.kind === 'hubDisconnected') {
      this.#lastError = this.#lastEnd ?? new LeafkeeperError(event.failure.code)
      this.#tell('disconnected', this.#lastError)
    }
    if (connection.phase === 'halted' && this.#tokenShut !== null) this.#lastError = this.#tokenShut
    if (connection.phase !== 'connected') return
    if (before.connection.phase === 'connected' && before.connection.operation === connection.operation)
      return
    const { assignment, generation } = connection
    this.#lastError = null
    this.#tell('connected', {
      assignment,
      generation,
      thumbprint: factsOf(after, generation)?.thumbprint ?? '',
    })
  }

  #tellRoll({ before, after, event: { at } }: ObservedStep): void {
    const { roll } = after
    const { plan } = 'plan' in before.roll ? before.roll : { plan: undefined }
    const staged = plan === undefined ? undefined : factsOf(after, plan.generation)
    if (plan !== undefined && staged !== undefined && factsOf(before, plan.generation) === undefined)
      this.#tell('staged', { generation: plan.generation, thumbprint: staged.thumbprint })
    if (after.active !== null && after.active !== before.active && 'plan' in before.roll)
      if (before.roll.plan.generation === after.active) {
        this.#lastRoll = endOf(before.roll.plan, at, null)
        this.#tellRolled(before, before.roll.plan, after)
      }
    if (roll.phase === 'failed' && before.roll.phase !== 'failed') {
      const { requestId } = roll.plan
      this.#lastRoll = endOf(roll.plan, at, roll.code)
      const error = this.#lastWith(roll.code)
      this.#tell('rollFailed', { requestId, error })
      this.#waiters.reject(requestId, error)
    }
  }

  /** The last failure, where it has this code. */
  #lastWith(code: ErrorCode): LeafkeeperError {
    const known = this.#lastError
    return known?.code === code ? known : new LeafkeeperError(code)
  }

  #tellRolled(before: AgentState, plan: RollPlan, after: AgentState): void {
    const { requestId, mode, generation, startedAt } = plan
    const facts = factsOf(after, generation)
    if (facts === undefined) return
    const report: RollReport = {
      requestId,
      mode,
      generation,
      oldThumbprint: before.active === null ? null : (factsOf(before, before.active)?.thumbprint ?? null),
      newThumbprint: facts.thumbprint,
      notAfter: new Date(facts.notAfter),
      // The clock may have been set back meanwhile.
      durationMs: Math.max(0, (after.lastAt ?? startedAt) - startedAt),
      blackoutMs: before.active === null ? null : this.#blackoutMs(),
    }
    this.#tell('rolled', report)
    this.#waiters.resolve(requestId, report)
  }

  #tellRetired({ before, after }: ObservedStep): void {
    if (before.generations === after.generations) return
    const left = new Set(after.generations.map((g) => g.number))
    for (const { number } of before.generations)
      if (!left.has(number)) this.#tell('retired', { generation: number })
  }
}

function factsOf(state: AgentState, generation: number): CertificateFacts | undefined {
  return state.generations.find((g) => g.number === generation)?.certificate ?? undefined
}

function endOf({ generation, mode }: RollPlan, at: Instant, code: ErrorCode | null): LastRoll {
  return { at, generation, mode, result: code === null ? 'rolled' : 'failed', code }
}
