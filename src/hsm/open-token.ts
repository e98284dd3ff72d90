import { realpathSync } from 'node:fs'
import { LeafkeeperError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { adoptKey } from './adopt-key.ts'
import { EngineBinding } from './engine-binding.ts'
import { freePlaces } from './held-places.ts'
import { isEngineBound } from './engine-process.ts'
import { findToken, type FoundToken, type TokenSelector } from './find-token.ts'
import { ObjectIndex } from './object-index.ts'
import { readPin, type PinSource } from './pin-source.ts'
import { Pkcs11Module } from './pkcs11-module.ts'
import { enginePath, loadProfile, modulePath, type HsmProfile } from './profile.ts'
import { pinDigest } from './refused-pins.ts'
import type { HsmToken } from './token.ts'
import { TokenConnection } from './token-connection.ts'
import { TokenKeyStore } from './token-key-store.ts'
import { TokenWriter } from './token-writer.ts'

/** Which token to open, and how. */
export interface OpenTokenOptions {
  /** Path of the PKCS#11 module, or a profile that knows where it may be. */
  readonly module: string | HsmProfile
  readonly token: TokenSelector
  readonly pin: PinSource
  /** How the module differs from the standard, where `module` is a path; the SoftHSM profile by default. */
  readonly profile?: HsmProfile
  /** Sessions for slow calls, at most; by default what the profile says, or 8. The first to open a token decides. */
  readonly maxSessions?: number
  /**
   * Environment variables that the module reads when it is loaded, such as `SOFTHSM2_CONF`. They are set for the whole
   * process, and a module reads them once.
   */
  readonly environment?: Readonly<Record<string, string>>
  /** Path of OpenSSL's `pkcs11.so`; by default where the profile finds it. */
  readonly engine?: string
}

interface Shared {
  readonly connection: TokenConnection
  readonly index: ObjectIndex
  readonly writer: TokenWriter
  readonly tls: EngineBinding
  readonly pinDigest: string
}

interface Entry {
  users: number
  readonly shared: Shared
}

/** Login is a process's, not a session's (PKCS#11 v2.40, 3.4), so agents of one process share it. */
const open = new Map<string, Entry>()
const closing = new Map<string, Promise<void>>()

/**
 * Opens a token and logs in; agents of one process that open the same token share one login.
 *
 * @example
 * ```ts
 * const token = await openToken({
 *   module: loadProfile('softhsm'),
 *   token: { label: 'gateway' },
 *   pin: { file: '/etc/leafkeeper/pin' },
 * })
 * const keys = token.keyStore('device-1')
 * ```
 * @throws LeafkeeperError `HSM_MODULE_NOT_FOUND`, `HSM_MODULE_FAILED`, `HSM_TOKEN_NOT_FOUND`,
 * `HSM_TOKEN_AMBIGUOUS`, `HSM_URI_INVALID`, `HSM_PIN_MISSING`, `HSM_PIN_INCORRECT`, `HSM_PIN_LOCKED`,
 * `HSM_SESSIONS_EXHAUSTED`
 */
export async function openToken(options: OpenTokenOptions): Promise<HsmToken> {
  const profile =
    options.profile ?? (typeof options.module === 'string' ? loadProfile('softhsm') : options.module)
  const path = typeof options.module === 'string' ? options.module : modulePath(options.module)
  Object.assign(process.env, options.environment)
  const module = Pkcs11Module.open(path, profile)
  try {
    const token = findToken(module, options.token)
    const pin = await readPin(options.pin, token.description)
    const { serial, label } = token.description
    const key = JSON.stringify([realpathSync(path), serial, label])
    // A login that is about to end is not joined.
    while (closing.has(key)) await closing.get(key)?.catch(() => undefined)
    const entry = open.get(key) ?? { users: 0, shared: connect(module, token, pin, profile, options) }
    if (entry.shared.pinDigest !== pinDigest(entry.shared.connection.description, pin)) {
      throw new LeafkeeperError('HSM_PIN_INCORRECT', {
        message: `Token "${label}" is open in this process with another PIN; this one was not tried.`,
      })
    }
    open.set(key, entry)
    entry.users += 1
    return use(key, entry, module)
  } catch (error) {
    module.close()
    throw error
  }
}

function connect(
  module: Pkcs11Module,
  token: FoundToken,
  pin: Secret,
  profile: HsmProfile,
  options: OpenTokenOptions,
): Shared {
  const maxSessions = options.maxSessions ?? profile.quirks.maxSessions
  const connection = TokenConnection.open({ module, token, pin, maxSessions })
  if (profile.quirks.namesByPlace === true && !isEngineBound())
    connection.now('let go of held places', freePlaces)
  const index = new ObjectIndex(connection)
  return {
    connection,
    index,
    writer: new TokenWriter(connection, index, profile.quirks),
    tls: new EngineBinding({
      connection,
      index,
      engine: options.engine ?? enginePath(profile),
      logsIn: profile.quirks.loginPerLibrary ?? false,
    }),
    pinDigest: pinDigest(token.description, pin),
  }
}

function use(key: string, entry: Entry, module: Pkcs11Module): HsmToken {
  const { connection, index, writer, tls } = entry.shared
  let ended: Promise<void> | undefined
  const end = async (): Promise<void> => {
    entry.users -= 1
    try {
      if (entry.users > 0) return
      open.delete(key)
      const closed = connection.close().finally(() => {
        tls.forgetAll()
        closing.delete(key)
      })
      closing.set(key, closed)
      await closed
    } finally {
      module.close()
    }
  }
  return {
    get description() {
      return connection.description
    },
    tls,
    keyStore: (agentName) =>
      new TokenKeyStore(agentName, {
        connection,
        index,
        writer,
        onDestroy: (keyUri) => {
          tls.forget(keyUri)
        },
      }),
    adopt: (existing, adopter) => adoptKey({ connection, index }, existing, adopter),
    close: () => (ended ??= end()),
  }
}
