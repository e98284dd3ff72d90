import { existsSync, realpathSync } from 'node:fs'
import pkcs11, { type PKCS11 } from 'pkcs11js'
import { LeafkeeperError } from '../errors.ts'
import { ckrName, hsmError } from './pkcs11-error.ts'
import type { HsmProfile } from './profile.ts'

interface LoadedModule {
  readonly api: PKCS11
  users: number
  initialised: boolean
  /** Whether this registry called C_Initialize, and so may call C_Finalize. */
  ours: boolean
  pinned: boolean
  /** What the module's environment variables were when it read them. */
  environment: Readonly<Record<string, string | undefined>>
}

/**
 * C_Initialize is once a process by the standard (PKCS#11 v2.40, 5.4), so this one registry is per process too.
 * A module that was loaded stays loaded: unloading a library under a running OpenSSL is not worth its memory.
 */
const modules = new Map<string, LoadedModule>()

/** A use of one PKCS#11 module; the last one to close finalises it, unless the TLS engine shares it. */
export class Pkcs11Module {
  /** The path as it was given. */
  readonly path: string
  readonly api: PKCS11
  readonly #loaded: LoadedModule
  #closed = false

  private constructor(path: string, loaded: LoadedModule) {
    this.path = path
    this.api = loaded.api
    this.#loaded = loaded
  }

  /**
   * Loads and initialises a module, or joins those who already use it in this process.
   *
   * @throws LeafkeeperError `HSM_MODULE_NOT_FOUND`, `HSM_MODULE_FAILED`
   */
  static open(path: string, profile: HsmProfile): Pkcs11Module {
    if (!existsSync(path)) {
      throw new LeafkeeperError('HSM_MODULE_NOT_FOUND', {
        message: `There is no PKCS#11 module at ${path}.`,
      })
    }
    const key = realpathSync(path)
    const loaded = modules.get(key) ?? load(path)
    modules.set(key, loaded)
    if (loaded.initialised) checkEnvironment(path, loaded)
    else initialise(path, loaded, profile)
    loaded.users += 1
    return new Pkcs11Module(path, loaded)
  }

  /**
   * Keeps the module initialised until the process ends. The OpenSSL engine uses the same C_Initialize and never
   * opens its sessions again: after a C_Finalize every later use of the engine in this process fails
   * (libp11 0.4.12 with Node 20, 22 and 24; test/hsm/tls-lifetime.test.ts).
   */
  keepInitialised(): void {
    this.#loaded.pinned = true
  }

  /** Ends this use; may be called twice. The last use calls C_Finalize. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#loaded.users -= 1
    if (this.#loaded.users > 0 || this.#loaded.pinned || !this.#loaded.ours) return
    this.#loaded.initialised = false
    try {
      this.api.C_Finalize()
    } catch (thrown) {
      throw hsmError(thrown, `finalise the PKCS#11 module ${this.path}`)
    }
  }
}

function load(path: string): LoadedModule {
  const api = new pkcs11.PKCS11()
  try {
    api.load(path)
  } catch (thrown) {
    throw hsmError(thrown, `load ${path} as a PKCS#11 module`, 'HSM_MODULE_FAILED')
  }
  return { api, users: 0, initialised: false, ours: false, pinned: false, environment: {} }
}

function initialise(path: string, loaded: LoadedModule, profile: HsmProfile): void {
  const { libraryParameters, environment = [] } = profile.quirks
  try {
    loaded.api.C_Initialize({
      flags: pkcs11.CKF_OS_LOCKING_OK,
      ...(libraryParameters === undefined ? {} : { libraryParameters: completed(libraryParameters, path) }),
    })
    loaded.ours = true
  } catch (thrown) {
    if (ckrName(thrown) !== 'CKR_CRYPTOKI_ALREADY_INITIALIZED') {
      const hint = environment.map((name) => `${name}=${process.env[name] ?? '(not set)'}`).join(', ')
      const doing = `initialise the PKCS#11 module ${path}${hint === '' ? '' : ` (${hint})`}`
      throw new LeafkeeperError('HSM_MODULE_FAILED', {
        message: hsmError(thrown, doing).message,
        cause: thrown,
        reason: ckrName(thrown) ?? 'unknown',
      })
    }
  }
  loaded.initialised = true
  loaded.environment = Object.fromEntries(environment.map((name) => [name, process.env[name]]))
}

/** Names of environment variables, as `${NAME}`, give way to their values. */
function completed(libraryParameters: string, path: string): string {
  return libraryParameters.replaceAll(/\$\{(\w+)\}/g, (_, name: string) => {
    const value = process.env[name] ?? ''
    if (value !== '' && !value.includes("'")) return value
    throw new LeafkeeperError('HSM_MODULE_FAILED', {
      message: `The PKCS#11 module ${path} is told where its token is by the environment variable ${name}, which is ${value === '' ? 'not set' : 'not a path'}.`,
    })
  })
}

function checkEnvironment(path: string, loaded: LoadedModule): void {
  for (const [name, before] of Object.entries(loaded.environment)) {
    const now = process.env[name]
    if (now === before) continue
    throw new LeafkeeperError('HSM_MODULE_FAILED', {
      message: `The PKCS#11 module ${path} was initialised in this process with ${name}=${before ?? '(not set)'} and cannot read ${now ?? '(not set)'} any more.`,
    })
  }
}
