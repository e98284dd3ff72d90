import { createSecureContext, type SecureContext, type SecureVersion } from 'node:tls'
import type { KeyId, Pem } from '../brands.ts'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { bindEngine, noteSessionsLost, unbindEngine } from './engine-process.ts'
import type { ObjectIndex } from './object-index.ts'
import { isHandleStale } from './pkcs11-error.ts'
import { parsePkcs11Uri } from './pkcs11-uri.ts'
import { readAttributes } from './attributes.ts'
import type { TlsBinding } from './tls-binding.ts'
import type { TokenConnection } from './token-connection.ts'

interface KeptContext {
  readonly chain: Pem
  readonly trustedAuthorities: string | undefined
  readonly maxVersion: SecureVersion | undefined
  readonly context: SecureContext
}

/** What a binding by the engine is made of. */
export interface EngineParts {
  readonly connection: TokenConnection
  readonly index: ObjectIndex
  /** Path of `pkcs11.so`; `undefined` when it was not found. */
  readonly engine: string | undefined
  /** Whether the engine has to log in by itself, because the module gives it a login of its own. */
  readonly logsIn: boolean
}

/** {@link TlsBinding} by OpenSSL's `pkcs11` engine (libp11), which shares the module and the login of this process. */
export class EngineBinding implements TlsBinding {
  readonly #connection: TokenConnection
  readonly #index: ObjectIndex
  readonly #engine: string | undefined
  readonly #logsIn: boolean
  readonly #contexts = new Map<string, readonly KeptContext[]>()

  constructor({ connection, index, engine, logsIn }: EngineParts) {
    this.#connection = connection
    this.#index = index
    this.#engine = engine
    this.#logsIn = logsIn
    connection.onReopened((lost) => {
      // The engine's objects are gone with the login that could see them.
      this.#contexts.clear()
      if (lost === 'sessions') noteSessionsLost(connection.description)
    })
  }

  secureContext(
    keyUri: string,
    chain: Pem,
    trustedAuthorities: string | undefined,
    maxVersion?: SecureVersion,
  ): SecureContext {
    this.#connection.ensure()
    // A handshake looks here: comparing texts that are the same objects costs less than a digest of them.
    const contexts = this.#contexts.get(keyUri) ?? []
    const kept = contexts.find(
      (each) =>
        each.chain === chain &&
        each.trustedAuthorities === trustedAuthorities &&
        each.maxVersion === maxVersion,
    )
    if (kept !== undefined) return kept.context
    const context = this.#create(keyUri, chain, trustedAuthorities, maxVersion)
    this.#contexts.set(keyUri, [...contexts, { chain, trustedAuthorities, maxVersion, context }])
    return context
  }

  forget(keyUri: string): void {
    this.#contexts.delete(keyUri)
  }

  /** Lets go of every context: the token is closed. */
  forgetAll(): void {
    this.#contexts.clear()
  }

  #create(
    keyUri: string,
    chain: Pem,
    trustedAuthorities: string | undefined,
    maxVersion: SecureVersion | undefined,
  ): SecureContext {
    // Asked for a key it cannot see, libp11 prompts for a PIN on the terminal and the process stands still.
    this.#checkKey(keyUri)
    bindEngine(this.#engine, this.#connection.module, this.#connection.description)
    try {
      return this.#named(keyUri, (privateKeyIdentifier) =>
        createSecureContext({
          cert: chain,
          privateKeyEngine: 'pkcs11',
          privateKeyIdentifier,
          ...(trustedAuthorities === undefined ? {} : { ca: trustedAuthorities }),
          ...(maxVersion === undefined ? {} : { maxVersion }),
        }),
      )
    } catch (cause) {
      if (isEngineUnknown(cause)) {
        unbindEngine()
        throw new LeafkeeperError('TLS_ENGINE_MISSING', {
          message: `OpenSSL could not load the engine ${this.#engine ?? 'pkcs11'}: ${messageOf(cause)}.`,
          cause,
        })
      }
      throw this.#unusable(keyUri, `OpenSSL refused it (${messageOf(cause)})`, cause)
    }
  }

  /** The key as the engine is to look for it: where it has to log in, with the file that the PIN stands in. */
  #named<Result>(keyUri: string, use: (uri: string) => Result): Result {
    if (!this.#logsIn) return use(keyUri)
    return this.#connection.lendPin((path) => use(`${keyUri}?pin-source=file:${path}`))
  }

  #checkKey(keyUri: string): void {
    const { id } = parsePkcs11Uri(keyUri)
    if (id === undefined) throw this.#unusable(keyUri, 'the URI has no id')
    const keyId = Buffer.from(id).toString('hex') as KeyId
    if (this.#isPresent(keyId)) return
    this.#index.invalidate()
    if (!this.#isPresent(keyId)) {
      throw this.#unusable(keyUri, `token "${this.#connection.description.label}" has no such private key`)
    }
  }

  #isPresent(keyId: KeyId): boolean {
    const handle = this.#index.privateKey(keyId)
    if (handle === undefined) return false
    try {
      this.#connection.now('look at a key', (api, session) =>
        readAttributes(api, session, handle, ['CKA_ID']),
      )
      return true
    } catch (error) {
      if (isHandleStale(error)) return false
      throw error
    }
  }

  #unusable(keyUri: string, why: string, cause?: unknown): LeafkeeperError {
    const reason = codeOf(cause)
    return new LeafkeeperError('TLS_KEY_UNUSABLE', {
      message: `TLS cannot use the key ${keyUri}: ${why}.`,
      ...(cause === undefined ? {} : { cause }),
      ...(reason === undefined ? {} : { reason }),
    })
  }
}

/** Node says it with a code where OpenSSL left no error, and otherwise with OpenSSL's errors as they are. */
function isEngineUnknown(thrown: unknown): boolean {
  if (codeOf(thrown) === 'ERR_CRYPTO_ENGINE_UNKNOWN') return true
  const stack: unknown =
    thrown instanceof Error && 'opensslErrorStack' in thrown ? thrown.opensslErrorStack : []
  return /no such engine|dso not found|could not load the shared library/.test(
    `${messageOf(thrown)} ${Array.isArray(stack) ? stack.join() : ''}`,
  )
}

function codeOf(thrown: unknown): string | undefined {
  return thrown instanceof Error && 'code' in thrown && typeof thrown.code === 'string'
    ? thrown.code
    : undefined
}
