import { existsSync, realpathSync } from 'node:fs'
import { basename, dirname, join } from 'node:path'
import { LeafkeeperError } from '../errors.ts'
import { listTokens } from './find-token.ts'
import type { TokenDescription } from './key-store.ts'
import type { Pkcs11Module } from './pkcs11-module.ts'

/**
 * What the OpenSSL engine of this process is bound to. libp11 loads one module a process, at its first key, lists
 * the slots then and never again, and opens its sessions once: all of it is the process's, not one agent's
 * (libp11 0.4.12, eng_back.c: ctx_new, ctx_init_libp11_unlocked; p11_slot.c: pkcs11_get_session).
 */
interface Binding {
  readonly module: string
  readonly tokens: ReadonlySet<string>
  /** Tokens with sessions of the engine. */
  readonly used: Set<string>
  /** Tokens whose sessions the engine has lost for good. */
  readonly lost: Set<string>
}

let binding: Binding | undefined

/**
 * Points the engine at a module, or makes sure that it already points there. OpenSSL reads both environment
 * variables when it loads the engine.
 *
 * @param engine Path of `pkcs11.so`.
 * @throws LeafkeeperError `TLS_ENGINE_MISSING`, `TLS_ENGINE_OTHER_MODULE`, `TLS_RESTART_NEEDED`
 */
export function bindEngine(engine: string | undefined, module: Pkcs11Module, token: TokenDescription): void {
  const path = realpathSync(module.path)
  if (binding === undefined) {
    const folder = engineFolder(engine)
    process.env['OPENSSL_ENGINES'] = folder
    process.env['PKCS11_MODULE_PATH'] = path
    module.keepInitialised()
    const tokens = new Set(listTokens(module).map(({ description }) => keyOf(description)))
    binding = { module: path, tokens, used: new Set(), lost: new Set() }
  }
  if (binding.module !== path) {
    throw new LeafkeeperError('TLS_ENGINE_OTHER_MODULE', {
      message: `TLS in this process uses the PKCS#11 module ${binding.module}, so it cannot use ${path}.`,
    })
  }
  const key = keyOf(token)
  if (!binding.tokens.has(key)) {
    throw restartNeeded(token, 'it appeared after this process first used TLS')
  }
  if (binding.lost.has(key)) {
    throw restartNeeded(token, 'its sessions were lost')
  }
  binding.used.add(key)
}

/** Whether the engine may have looked at tokens, and so remembers handles of their keys. */
export function isEngineBound(): boolean {
  return binding !== undefined
}

/** Undoes {@link bindEngine} when OpenSSL could not load the engine, so that nothing is bound yet. */
export function unbindEngine(): void {
  binding = undefined
}

/** Notes that a token lost its sessions: those of the engine too, if it had some. */
export function noteSessionsLost(token: TokenDescription): void {
  const key = keyOf(token)
  if (binding?.used.has(key) === true) binding.lost.add(key)
}

/** OpenSSL wants a folder and the id `pkcs11`; it refuses the path of the file ("bad engine id"). */
function engineFolder(engine: string | undefined): string {
  const given = process.env['OPENSSL_ENGINES']
  if (engine === undefined && given !== undefined && existsSync(join(given, 'pkcs11.so'))) return given
  if (engine === undefined || !existsSync(engine)) {
    throw new LeafkeeperError('TLS_ENGINE_MISSING', {
      message: `The OpenSSL engine pkcs11 was not found${engine === undefined ? ' in any usual place' : ` at ${engine}`}.`,
    })
  }
  if (!basename(engine).startsWith('pkcs11.')) {
    throw new LeafkeeperError('TLS_ENGINE_MISSING', {
      message: `OpenSSL finds the engine only under the name pkcs11.so, not ${engine}.`,
    })
  }
  return dirname(engine)
}

function keyOf({ serial, label }: TokenDescription): string {
  return JSON.stringify([serial, label])
}

function restartNeeded(token: TokenDescription, why: string): LeafkeeperError {
  return new LeafkeeperError('TLS_RESTART_NEEDED', {
    message: `OpenSSL cannot use token "${token.label}": ${why}.`,
  })
}
