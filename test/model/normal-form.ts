import type {
  AgentState,
  Connection,
  Destruction,
  Generation,
  Instant,
  Operation,
  Roll,
  RollPlan,
  RollRequest,
} from '../../src/agent/states.ts'

/** The instant at which everything happens in a normal form. */
export const now: Instant = 1_000_000_000_000
/** Stands for every instant that lies ahead. */
export const later: Instant = now + 1_000_000_000

/** Operation numbers in a normal form: each role has its own, so that they never grow. */
export const operations = {
  connection: 1,
  registering: 2,
  moving: 3,
  roll: 4,
  destruction: 5,
  last: 20,
} as const

/** After so many failures in a row `step-connection.ts` gives a hub up that refuses what DPS has sent to it. */
const patience = 4

/** A normal form, and what became of the operation numbers. */
export interface NormalForm {
  readonly state: AgentState
  /** The numbers the state waits for, old to new; a result with any other number is stale. */
  readonly operations: ReadonlyMap<Operation, Operation>
}

/**
 * The one state that stands for all states with the same futures.
 *
 * A state of the machine is infinite in four ways; in each, what `step` can tell apart is finite:
 *
 * - **Time.** `step` reads an instant only to ask whether it has come (`deadline <= at`), and makes new ones only as `at`
 *   plus a delay, so the state is as if it were now, with what is due at `now` and what is ahead at `later`. In which
 *   order the deadlines ahead come depends on delays that policy, jitter and Retry-After set freely; the exploration
 *   lets them come in any order. `step-clock.ts` keeps all this true for a clock that is set back.
 * - **Operation numbers** are compared with each other only, to recognise results.
 * - **Counts of attempts** set delays, and `attempt % askDpsAfterAttempts` of a connection decides whether DPS is asked;
 *   only that remainder is kept.
 * - **What is only told**: codes (but for the hub's `unauthorized` while waiting), request ids, key ids, tickets, chains.
 *
 * Generation numbers grow too; the world renumbers them (see `numbering.ts`), because it uses them as well.
 *
 * Each member of the state is named here, so that a new one fails to compile until somebody has thought about it.
 * That equal normal forms have equal futures is argued here, and not tested yet.
 */
export function normalForm(state: AgentState): NormalForm {
  const at = state.lastAt ?? now
  const { running, policy, commonName, generations, active, nextGeneration, ...rest1 } = state
  const { assignment, connection, roll, destruction, reprovisionWanted, lastOperation, ...rest2 } = rest1
  const { wakeAt, lastAt, journalWritable, tokenShut, rollWindow, lastRollAt, ...unknown } = rest2
  nothingLeft(unknown)
  // A roll by schedule or window begins as one that is asked for does: the exploration asks at every moment.
  if (policy.ownRolls !== null) throw new RangeError("Expected a policy without rolls of the agent's own.")
  leftOut(lastOperation, lastAt, rollWindow, lastRollAt)
  const numbers = new Map<Operation, Operation>()
  const shapes = new Shapes(at, policy.askDpsAfterAttempts, numbers)
  const present = new Set(generations.map((g) => g.number))
  return {
    state: {
      running,
      policy,
      commonName,
      generations: generations.map((g) => shapes.generation(g)),
      active,
      nextGeneration,
      assignment,
      connection: shapes.connection(connection, present),
      roll: shapes.roll(roll),
      destruction: destruction === null ? null : shapes.destruction(destruction),
      reprovisionWanted,
      lastOperation: operations.last,
      wakeAt: wakeAt === null ? null : shapes.instant(wakeAt),
      lastAt: now,
      journalWritable,
      tokenShut: tokenShut === null ? null : 'HSM_PIN_INCORRECT',
      rollWindow: null,
      lastRollAt: null,
    },
    operations: numbers,
  }
}

/** Names members that futures do not depend on. */
function leftOut(..._members: unknown[]): void {
  return
}

/** Fails to compile where a member was not named. */
function nothingLeft(_members: Record<string, never>): void {
  return
}

type Generating = Extract<Roll, { readonly phase: 'generating' }>

/** The normal forms of the parts of one state. */
class Shapes {
  readonly #at: Instant
  readonly #attempts: number
  readonly #numbers: Map<Operation, Operation>

  constructor(at: Instant, attempts: number, numbers: Map<Operation, Operation>) {
    this.#at = at
    this.#attempts = attempts
    this.#numbers = numbers
  }

  instant(instant: Instant): Instant {
    return instant <= this.#at ? now : later
  }

  #operation(operation: Operation, role: Operation): Operation {
    this.#numbers.set(operation, role)
    return role
  }

  #attempt(attempt: number): number {
    return attempt < patience ? attempt : patience + ((attempt - patience) % this.#attempts)
  }

  generation({ number, keyId, certificate, retireAt, compromised, ...unknown }: Generation): Generation {
    nothingLeft(unknown)
    leftOut(keyId)
    return {
      number,
      keyId: null,
      certificate:
        certificate === null
          ? null
          : { commonName: certificate.commonName, thumbprint: '', notBefore: 0, notAfter: 0 },
      retireAt: retireAt === null ? null : this.instant(retireAt),
      compromised,
    }
  }

  connection(connection: Connection, present: ReadonlySet<number>): Connection {
    // A generation that has left the token is not tried again, so that it was refused says nothing.
    const stillThere = (refused: readonly number[]): number[] =>
      refused.filter((number) => present.has(number)).sort((one, other) => one - other)
    switch (connection.phase) {
      case 'offline':
        return connection
      case 'halted':
        return { phase: 'halted', code: 'HSM_PIN_INCORRECT' }
      case 'provisioning':
        return {
          phase: 'provisioning',
          operation: this.#operation(connection.operation, operations.connection),
          generation: connection.generation,
          attempt: this.#attempt(connection.attempt),
          refused: stillThere(connection.refused),
          otherwise: connection.otherwise,
        }
      case 'connecting':
        return {
          phase: 'connecting',
          operation: this.#operation(connection.operation, operations.connection),
          generation: connection.generation,
          attempt: this.#attempt(connection.attempt),
          refused: stillThere(connection.refused),
          assignment: connection.assignment,
          registered: connection.registered,
        }
      case 'connected': {
        const { registering, moving } = connection
        return {
          phase: 'connected',
          operation: this.#operation(connection.operation, operations.connection),
          generation: connection.generation,
          assignment: connection.assignment,
          since: now,
          attempt: 0,
          registering:
            registering === null
              ? null
              : {
                  operation:
                    registering.operation === null
                      ? null
                      : this.#operation(registering.operation, operations.registering),
                  attempt: 0,
                  retryAt: this.instant(registering.retryAt),
                },
          moving: moving === null ? null : this.#operation(moving, operations.moving),
        }
      }
      case 'waiting':
        return {
          phase: 'waiting',
          until: this.instant(connection.until),
          next: connection.next,
          attempt: this.#attempt(connection.attempt),
          code: connection.code === 'HUB_UNAUTHORIZED' ? connection.code : null,
          forRoll: connection.forRoll,
        }
      case 'refused':
        return {
          phase: 'refused',
          until: this.instant(connection.until),
          attempt: this.#attempt(connection.attempt),
          code: 'DPS_UNAUTHORIZED',
        }
    }
  }

  roll(roll: Roll): Roll {
    switch (roll.phase) {
      case 'idle':
        return roll
      case 'generating':
        return { phase: 'generating', ...this.#work(roll) }
      case 'requesting':
        return { phase: 'requesting', ...this.#work(roll), ticket: roll.ticket === null ? null : 'ticket' }
      case 'storing': {
        const { commonName } = roll.certificate
        return {
          phase: 'storing',
          ...this.#work(roll),
          chain: commonName,
          certificate: { commonName, thumbprint: '', notBefore: 0, notAfter: 0 },
        }
      }
      case 'staged':
        return {
          phase: 'staged',
          plan: this.#plan(roll.plan),
          attempt: 0,
          proveAt: this.instant(roll.proveAt),
          code: null,
        }
      case 'proving':
        return {
          phase: 'proving',
          plan: this.#plan(roll.plan),
          attempt: 0,
          operation: this.#operation(roll.operation, operations.roll),
          ...this.#overtaken(roll),
        }
      case 'switching':
        return {
          phase: 'switching',
          plan: this.#plan(roll.plan),
          attempt: 0,
          operation: this.#operation(roll.operation, operations.roll),
          assignment: roll.assignment,
          ...this.#overtaken(roll),
        }
      case 'retiring':
        return { phase: 'retiring', plan: this.#plan(roll.plan), next: this.#request(roll.next) }
      case 'failed':
        return {
          phase: 'failed',
          plan: this.#plan(roll.plan),
          code: 'ISSUER_REFUSED',
          next: this.#request(roll.next),
          retryAt: roll.retryAt === null ? null : this.instant(roll.retryAt),
        }
    }
  }

  destruction({ generation, operation, retryAt }: Destruction): Destruction {
    return {
      generation,
      operation: operation === null ? null : this.#operation(operation, operations.destruction),
      attempt: 0,
      retryAt: this.instant(retryAt),
    }
  }

  #work({ plan, operation, retryAt }: Omit<Generating, 'phase'>): Omit<Generating, 'phase'> {
    return {
      plan: this.#plan(plan),
      operation: operation === null ? null : this.#operation(operation, operations.roll),
      attempt: 0,
      retryAt: this.instant(retryAt),
    }
  }

  #plan({ generation, mode, keyType }: RollPlan): RollPlan {
    return { generation, mode, keyType, requestId: mode, startedAt: now, round: 0 }
  }

  #request(request: RollRequest | null): RollRequest | null {
    return request === null ? null : { mode: request.mode, keyType: request.keyType, requestId: request.mode }
  }

  #overtaken({ overtakenBy }: { readonly overtakenBy?: RollRequest }): { overtakenBy?: RollRequest } {
    const request = this.#request(overtakenBy ?? null)
    return request === null ? {} : { overtakenBy: request }
  }
}
