import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import { LeafkeeperError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { findToken, type FoundToken } from './find-token.ts'
import type { TokenDescription } from './key-store.ts'
import { withPinFile } from './lent-pin.ts'
import { isAlive, isLoggedIn, logIn } from './login.ts'
import { OneAtATime } from '../one-at-a-time.ts'
import { hsmError, isSessionLost } from './pkcs11-error.ts'
import type { Pkcs11Module } from './pkcs11-module.ts'
import { SessionPool } from './session-pool.ts'

/** How many sessions a token without a stated limit is asked for. */
const usualSessions = 8
/** Left to the TLS engine where a token is short of sessions: libp11 waits for ever when it gets none. */
const sessionsForTls = 1

/** What a token lost under us: the login alone, or the sessions with it. */
export type Lost = 'login' | 'sessions'

/** What a connection is opened with. */
export interface ConnectionOptions {
  readonly module: Pkcs11Module
  readonly token: FoundToken
  readonly pin: Secret
  readonly maxSessions: number | undefined
}

/**
 * The one login of this process to one token. Short calls run at once on a main session; slow ones run off the event
 * loop on a session of the pool.
 *
 * When the token loses its sessions (it was removed, its driver restarted, another user of the module logged out),
 * the connection opens new ones and logs in again with the PIN that was accepted before, once, and repeats the call.
 */
export class TokenConnection {
  readonly module: Pkcs11Module
  /** Writes take turns: SoftHSM corrupts its store when two run at a time (SoftHSMv2#573). */
  readonly turns = new OneAtATime('HSM_CLOSED')
  readonly #pin: Secret
  readonly #pool: SessionPool
  readonly #watchers = new Set<(lost: Lost) => void>()
  #token: FoundToken
  #main: Handle
  /** Counts the reopenings, so that of several calls that fail together one reopens. */
  #epoch = 0
  #closed = false

  private constructor({ module, token, pin, maxSessions }: ConnectionOptions, main: Handle) {
    this.module = module
    this.#token = token
    this.#pin = pin
    this.#main = main
    const limit = maxSessions ?? usualSessions
    const available = (token.maxSessions ?? Infinity) - 1 - sessionsForTls
    this.#pool = new SessionPool(
      { open: () => this.#openSession(), close: (session) => this.#closeSession(session) },
      Math.max(1, Math.min(limit, available)),
    )
  }

  /**
   * Opens a session and logs in, with one try.
   *
   * @throws LeafkeeperError `HSM_PIN_INCORRECT`, `HSM_PIN_LOCKED`, `HSM_SESSIONS_EXHAUSTED`, `HSM_TOKEN_REMOVED`
   */
  static open(options: ConnectionOptions): TokenConnection {
    const { module, token, pin } = options
    const main = openSession(module.api, token)
    try {
      logIn(module.api, main, token, pin)
    } catch (error) {
      module.api.C_CloseSession(main)
      throw error
    }
    return new TokenConnection(options, main)
  }

  get description(): TokenDescription {
    return this.#token.description
  }

  get slot(): Handle {
    return this.#token.slot
  }

  /** Lends the PIN that was accepted to a library with a login of its own; see {@link withPinFile}. */
  lendPin<Result>(use: (path: string) => Result): Result {
    return withPinFile(this.#pin, use)
  }

  /** Calls back after a loss that was repaired: handles of objects are no longer valid. */
  onReopened(watcher: (lost: Lost) => void): void {
    this.#watchers.add(watcher)
  }

  /** Finds and repairs a loss of the sessions or the login; costs one short call where there was none. */
  ensure(): void {
    if (this.#closed) {
      throw new LeafkeeperError('HSM_CLOSED', { message: `Token "${this.description.label}" was closed.` })
    }
    if (!isLoggedIn(this.module.api, this.#main)) this.#reopen(this.#epoch)
  }

  /**
   * Runs short calls at once, on the main session.
   *
   * @param doing Follows "could not" in an error: `list the keys`.
   */
  now<Result>(doing: string, work: (api: PKCS11, session: Handle) => Result): Result {
    // A user who was logged out sees no private object, rather than an error.
    this.ensure()
    const epoch = this.#epoch
    try {
      return work(this.module.api, this.#main)
    } catch (thrown) {
      if (!isSessionLost(thrown)) throw this.#error(thrown, doing)
      this.#reopen(epoch)
      try {
        return work(this.module.api, this.#main)
      } catch (again) {
        throw this.#error(again, doing)
      }
    }
  }

  /**
   * Runs slow calls on a session of their own. `work` may run a second time after the sessions were lost: it starts
   * by looking at what is there.
   */
  async later<Result>(
    doing: string,
    work: (api: PKCS11, session: Handle) => Promise<Result>,
  ): Promise<Result> {
    this.ensure()
    const epoch = this.#epoch
    try {
      return await this.#pool.use((session) => work(this.module.api, session))
    } catch (thrown) {
      if (!isSessionLost(thrown)) throw this.#error(thrown, doing)
      this.#reopen(epoch)
      return await this.#pool
        .use((session) => work(this.module.api, session))
        .catch((again: unknown) => {
          throw this.#error(again, doing)
        })
    }
  }

  /** Lets running calls end, logs out and closes the sessions. */
  async close(): Promise<void> {
    await this.turns.close()
    this.#closed = true
    await this.#pool.close()
    try {
      if (isLoggedIn(this.module.api, this.#main)) this.module.api.C_Logout(this.#main)
    } finally {
      this.#closeSession(this.#main)
    }
  }

  #reopen(epoch: number): void {
    if (epoch !== this.#epoch) return
    const { label, serial } = this.description
    const lost: Lost = isAlive(this.module.api, this.#main) ? 'login' : 'sessions'
    this.#pool.forget()
    this.#token = findToken(this.module, { label, serial })
    const main = openSession(this.module.api, this.#token)
    try {
      logIn(this.module.api, main, this.#token, this.#pin)
    } catch (error) {
      this.#closeSession(main)
      throw error
    }
    // The old one goes last: until another is logged in, it tells what was lost. Where it is gone this does nothing.
    if (lost === 'login') this.#closeSession(this.#main)
    this.#main = main
    this.#epoch += 1
    for (const watcher of this.#watchers) watcher(lost)
  }

  #openSession(): Handle {
    return openSession(this.module.api, this.#token)
  }

  #closeSession(session: Handle): void {
    try {
      this.module.api.C_CloseSession(session)
    } catch {
      // It was lost already.
    }
  }

  #error(thrown: unknown, doing: string): LeafkeeperError {
    return hsmError(thrown, `${doing} on token "${this.description.label}"`)
  }
}

function openSession(api: PKCS11, token: FoundToken): Handle {
  try {
    return api.C_OpenSession(token.slot, pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION)
  } catch (thrown) {
    throw hsmError(thrown, `open a session on token "${token.description.label}"`)
  }
}
