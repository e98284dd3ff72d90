import type { Handle } from 'pkcs11js'
import { LeafkeeperError } from '../errors.ts'
import { ckrName } from './pkcs11-error.ts'

/** How a pool makes and ends sessions. */
export interface SessionDoor {
  open(): Handle
  /** Must not throw. */
  close(session: Handle): void
}

interface Waiter {
  readonly resolve: (session: Handle) => void
  readonly reject: (error: LeafkeeperError) => void
}

/** More waiting than this means that nothing moves: refusing says so, and keeps memory bounded. */
const waitingLimit = 10_000

/**
 * Sessions for calls that run off the event loop, each used by one call at a time (PKCS#11 allows one active
 * operation a session). No more than `limit` are open; who finds none free waits, first come, first served.
 */
export class SessionPool {
  readonly #door: SessionDoor
  #limit: number
  readonly #idle: Handle[] = []
  readonly #busy = new Set<Handle>()
  readonly #forgotten = new Set<Handle>()
  readonly #waiting: Waiter[] = []
  #closed = false
  #drained: (() => void) | undefined

  constructor(door: SessionDoor, limit: number) {
    this.#door = door
    this.#limit = limit
  }

  get limit(): number {
    return this.#limit
  }

  /**
   * Runs `work` with a session of its own.
   *
   * @throws LeafkeeperError `HSM_SESSIONS_EXHAUSTED` when the token gives not even one, `HSM_CLOSED`
   */
  async use<Result>(work: (session: Handle) => Promise<Result>): Promise<Result> {
    const session = await this.#acquire()
    try {
      return await work(session)
    } finally {
      this.#release(session)
    }
  }

  /** Lets go of every session, since the token has lost them or their login. Those in use are not used again. */
  forget(): void {
    for (const session of this.#idle.splice(0)) this.#door.close(session)
    for (const session of this.#busy) this.#forgotten.add(session)
    this.#busy.clear()
  }

  /** Refuses who waits, lets running work end, and closes the sessions. */
  async close(): Promise<void> {
    this.#closed = true
    for (const { reject } of this.#waiting.splice(0)) reject(closed())
    if (this.#isWorking()) await new Promise<void>((resolve) => (this.#drained = resolve))
    for (const session of this.#idle.splice(0)) this.#door.close(session)
  }

  async #acquire(): Promise<Handle> {
    if (this.#closed) throw closed()
    const session = this.#idle.pop() ?? this.#open()
    if (session !== undefined) {
      this.#busy.add(session)
      return session
    }
    if (this.#waiting.length >= waitingLimit) {
      throw new LeafkeeperError('HSM_SESSIONS_EXHAUSTED', {
        message: `${this.#waiting.length} calls already wait for one of ${this.#limit} sessions.`,
      })
    }
    return await new Promise<Handle>((resolve, reject) => this.#waiting.push({ resolve, reject }))
  }

  #open(): Handle | undefined {
    if (this.#busy.size + this.#idle.length >= this.#limit) return undefined
    try {
      return this.#door.open()
    } catch (error) {
      if (ckrName(error) !== 'CKR_SESSION_COUNT' || this.#busy.size === 0) throw error
      // The token has fewer than it said: what is open has to do.
      this.#limit = this.#busy.size
      return undefined
    }
  }

  #release(session: Handle): void {
    if (this.#busy.delete(session)) this.#idle.push(session)
    else {
      this.#forgotten.delete(session)
      this.#door.close(session)
    }
    this.#serve()
    if (!this.#isWorking()) this.#drained?.()
  }

  /** A call on a forgotten session still runs inside the module. */
  #isWorking(): boolean {
    return this.#busy.size + this.#forgotten.size > 0
  }

  #serve(): void {
    while (this.#waiting.length > 0) {
      let session: Handle | undefined
      try {
        session = this.#idle.pop() ?? this.#open()
      } catch (error) {
        // Only who is first hears of it; the next release tries again for the others.
        if (error instanceof LeafkeeperError) this.#waiting.shift()?.reject(error)
        else throw error
        continue
      }
      if (session === undefined) return
      this.#busy.add(session)
      this.#waiting.shift()?.resolve(session)
    }
  }
}

function closed(): LeafkeeperError {
  return new LeafkeeperError('HSM_CLOSED', { message: 'The token was closed.' })
}
