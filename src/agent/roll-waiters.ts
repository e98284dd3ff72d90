import { LeafkeeperError } from '../errors.ts'
import type { RollReport } from './agent-events.ts'
import type { AgentState } from './states.ts'

interface Waiter {
  readonly resolve: (report: RollReport) => void
  readonly reject: (error: LeafkeeperError) => void
}

/** Those who asked for a roll and wait for its end, by request id. */
export class RollWaiters {
  readonly #waiters = new Map<string, Waiter>()

  wait(requestId: string): Promise<RollReport> {
    return new Promise((resolve, reject) => this.#waiters.set(requestId, { resolve, reject }))
  }

  resolve(requestId: string, report: RollReport): void {
    this.#take(requestId)?.resolve(report)
  }

  reject(requestId: string, error: LeafkeeperError): void {
    this.#take(requestId)?.reject(error)
  }

  /** Lets go of those whose roll the state no longer speaks of: it was not begun, or another overtook it. */
  settle(state: AgentState): void {
    for (const requestId of this.#waiters.keys())
      if (!speaksOf(state, requestId))
        this.reject(
          requestId,
          new LeafkeeperError('AGENT_STATE_INVALID', {
            message: `The roll was not carried out: ${state.roll.phase === 'idle' ? 'it was given up' : `another roll is ${state.roll.phase}`}.`,
          }),
        )
  }

  rejectAll(error: LeafkeeperError): void {
    for (const requestId of [...this.#waiters.keys()]) this.reject(requestId, error)
  }

  #take(requestId: string): Waiter | undefined {
    const waiter = this.#waiters.get(requestId)
    this.#waiters.delete(requestId)
    return waiter
  }
}

function speaksOf({ roll }: AgentState, requestId: string): boolean {
  if (roll.phase === 'idle') return false
  if (roll.plan.requestId === requestId) return true
  if ('next' in roll && roll.next?.requestId === requestId) return true
  return 'overtakenBy' in roll && roll.overtakenBy.requestId === requestId
}
