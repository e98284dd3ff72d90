import { LeafkeeperError } from '../errors.ts'
import type { RollReport } from './agent-events.ts'
import type { AgentState } from './states.ts'

interface Waiter {
  readonly resolve: (report: RollReport) => void
  readonly reject: (error: LeafkeeperError) => void
  /** The machine has taken the request, so that its state says what became of it. */
  taken: boolean
}

/** Those who asked for a roll and wait for its end, by request id. */
export class RollWaiters {
  readonly #waiters = new Map<string, Waiter>()

  wait(requestId: string): Promise<RollReport> {
    return new Promise((resolve, reject) => {
      this.#waiters.set(requestId, { resolve, reject, taken: false })
    })
  }

  resolve(requestId: string, report: RollReport): void {
    this.#take(requestId)?.resolve(report)
  }

  reject(requestId: string, error: LeafkeeperError): void {
    this.#take(requestId)?.reject(error)
  }

  /** The machine has taken this request. */
  taken(requestId: string): void {
    const waiter = this.#waiters.get(requestId)
    if (waiter !== undefined) waiter.taken = true
  }

  /** Lets go of those whose roll the state no longer speaks of: it was not begun, or another overtook it. */
  settle(state: AgentState): void {
    for (const [requestId, { taken }] of this.#waiters)
      if (taken && !speaksOf(state, requestId))
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
