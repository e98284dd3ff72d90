import { LeafkeeperError } from '../errors.ts'
import type { RollOptions } from './agent-events.ts'
import type { CertificateExchange, Delivery, PendingRequest } from './certificate-exchange.ts'
import type { AgentState, Roll, RollMode } from './states.ts'

/** What the pipeline needs of its agent. */
export interface ManualPipelineParts {
  readonly exchange: CertificateExchange
  readonly state: () => AgentState
  readonly isStopped: () => boolean
  /** Says why a roll cannot begin now; `undefined` when it can. */
  readonly obstacle: (mode: Exclude<RollMode, 'bootstrap'>) => string | undefined
  /** Resolves when the machine has taken the request. */
  readonly requestRoll: (options: RollOptions) => Promise<void>
  /** Resolves with the next step of the machine, or when the agent has stopped. */
  readonly nextStep: () => Promise<void>
  readonly deliver: (delivery: Delivery) => Promise<void>
}

/** Requests that are fetched from the agent, and certificates that are brought to it, whatever its issuer does. */
export class ManualPipeline {
  readonly #parts: ManualPipelineParts

  constructor(parts: ManualPipelineParts) {
    this.#parts = parts
  }

  /**
   * Begins a roll where none is under way that serves, and gives its request as soon as its key is made.
   *
   * @throws LeafkeeperError `AGENT_STATE_INVALID`, `AGENT_STOPPED`, `HSM_*`
   */
  async request(options: RollOptions): Promise<PendingRequest> {
    const { state, isStopped, obstacle, requestRoll, nextStep, exchange } = this.#parts
    const { mode = 'expiry' } = options
    if (!waitsForCertificate(state().roll, mode)) {
      const why = obstacle(mode)
      if (why !== undefined) throw new LeafkeeperError('AGENT_STATE_INVALID', { message: why })
      await requestRoll({ ...options, mode })
    }
    for (;;) {
      const { roll, active } = state()
      if (isStopped()) throw new LeafkeeperError('AGENT_STOPPED')
      if (roll.phase === 'requesting') {
        const { requestId, generation } = roll.plan
        return { requestId, generation, csr: await exchange.request(generation, active) }
      }
      const comes = roll.phase === 'generating' || ('next' in roll && roll.next !== null)
      if (!comes) throw nothingWaits(roll)
      await nextStep()
    }
  }

  /**
   * Checks a chain for the request that waits; a wrong one changes nothing.
   *
   * @throws LeafkeeperError `CERT_*`, `AGENT_STATE_INVALID`, `AGENT_STOPPED`
   */
  async check(chain: string): Promise<Delivery> {
    const { state, isStopped, exchange } = this.#parts
    if (isStopped()) throw new LeafkeeperError('AGENT_STOPPED')
    const { roll } = state()
    if (roll.phase !== 'requesting') throw nothingWaits(roll)
    const { generation } = roll.plan
    return { generation, ...(await exchange.check(chain, generation, state())) }
  }

  /** Takes a chain that {@link check} has let pass; resolves when the machine has it. */
  take(delivery: Delivery): Promise<void> {
    return this.#parts.deliver(delivery)
  }
}

/** Whether a roll is under way that will have, or has, a request to show, and that is as thorough as wanted. */
function waitsForCertificate(roll: Roll, mode: RollMode): boolean {
  if (roll.phase !== 'generating' && roll.phase !== 'requesting') return false
  return mode !== 'breach' || roll.plan.mode === 'breach'
}

function nothingWaits(roll: Roll): LeafkeeperError {
  const why = roll.phase === 'failed' ? ` (${roll.code})` : ''
  return new LeafkeeperError('AGENT_STATE_INVALID', {
    message: `No request for a certificate waits: the roll is ${roll.phase}${why}. createCertificateRequest begins one.`,
  })
}
