import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { LeafkeeperError, messageOf } from '../errors.ts'

/** How one kind of PKCS#11 module differs from the standard, as data. */
export interface HsmQuirks {
  /** The text that C_Initialize wants in `pReserved` (NSS); `${NAME}` in it stands for an environment variable. */
  readonly libraryParameters?: string
  /** Environment variables that the module reads at C_Initialize and never again. */
  readonly environment?: readonly string[]
  /** Names of attributes that the module refuses in templates (`CKA_UNWRAP`). */
  readonly omitAttributes?: readonly string[]
  /** The most sessions to open at a time; without it the token's own limit, or 8. */
  readonly maxSessions?: number
  /**
   * Whether nobody may look at the token while it generates a key pair. Then that is done on the main thread, where
   * nothing else can begin meanwhile; the process stands still for it, with SoftHSM for some 25 ms (EC) to a second (RSA).
   * (SoftHSM 2.6.1 shows objects that are half made to other threads, and both sides fail or crash: SoftHSMv2#573, #688.)
   */
  readonly generatesAlone?: boolean
  /**
   * Where the module keeps its objects as files, if it does not notice a full disk: then leafkeeper looks before it
   * writes. (SoftHSM 2.6.1 reports success for an object that was not written.)
   */
  readonly storage?: TokenStorage
  /**
   * Whether the module names objects by their place, so that new ones get the handles of those that were destroyed.
   * Then leafkeeper puts data objects that hold nothing into these places until it is started again
   * (tpm2-pkcs11; see `held-places.ts`).
   */
  readonly namesByPlace?: boolean
  /**
   * Whether the module gives each library that loads it a login of its own, so that OpenSSL's engine has to log in
   * too. (p11-kit-client 0.24 opens a connection for each.)
   */
  readonly loginPerLibrary?: boolean
}

/** Names a folder by the module's own configuration. */
export interface TokenStorage {
  /** Environment variable with the path of the configuration file. */
  readonly environment: string
  /** What the file calls the folder: `key = folder`. */
  readonly key: string
}

/** What leafkeeper knows of one kind of PKCS#11 module: a file of `hsm-config/`. */
export interface HsmProfile {
  readonly name: string
  /** Where its module may be; the first path that exists is used. */
  readonly module: readonly string[]
  /** Where the OpenSSL engine `pkcs11.so` may be; a file may leave that to the profile of SoftHSM. */
  readonly engine: readonly string[]
  readonly quirks: HsmQuirks
}

/** The package's `hsm-config`, which lies beside `src/` and beside `dist/`. */
const folder = new URL('../../hsm-config/', import.meta.url)

/**
 * Reads a profile of `hsm-config/` by name, or any other by its path.
 *
 * @example
 * ```ts
 * const profile = loadProfile('softhsm')
 * const module = modulePath(profile)
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` when there is no such profile, or it is not one
 */
export function loadProfile(nameOrPath: string): HsmProfile {
  const path = nameOrPath.includes('/') ? nameOrPath : fileURLToPath(new URL(`${nameOrPath}.json`, folder))
  try {
    return toProfile(JSON.parse(readFileSync(path, 'utf8')))
  } catch (error) {
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: `${path} is not an HSM profile: ${messageOf(error)}.`,
      cause: error,
    })
  }
}

/** The names of the profiles of `hsm-config/`. */
export function profileNames(): readonly string[] {
  return readdirSync(folder).flatMap((file) =>
    file.endsWith('.json') ? [file.slice(0, -'.json'.length)] : [],
  )
}

/**
 * The module of a profile on this machine.
 *
 * @throws LeafkeeperError `HSM_MODULE_NOT_FOUND`
 */
export function modulePath(profile: HsmProfile): string {
  const path = profile.module.find((candidate) => existsSync(candidate))
  if (path !== undefined) return path
  throw new LeafkeeperError('HSM_MODULE_NOT_FOUND', {
    message: `No PKCS#11 module of profile ${profile.name} was found; looked at ${profile.module.join(', ')}.`,
  })
}

/** The OpenSSL engine of a profile on this machine, or `undefined`. */
export function enginePath(profile: HsmProfile): string | undefined {
  return profile.engine.find((candidate) => existsSync(candidate))
}

function toProfile(value: unknown): HsmProfile {
  if (!isRecord(value)) throw new TypeError('expected a JSON object')
  const {
    name,
    module,
    engine = value['name'] === 'softhsm' ? [] : loadProfile('softhsm').engine,
    quirks,
  } = value
  if (typeof name !== 'string') throw new TypeError('"name" must be a text')
  if (!isTexts(module)) throw new TypeError('"module" must be a list of paths')
  if (!isTexts(engine)) throw new TypeError('"engine" must be a list of paths')
  return { name, module, engine, quirks: toQuirks(quirks ?? {}) }
}

function toQuirks(value: unknown): HsmQuirks {
  if (!isRecord(value)) throw new TypeError('"quirks" must be an object')
  const { libraryParameters, environment, omitAttributes, maxSessions, storage, ...others } = value
  const { generatesAlone, namesByPlace, loginPerLibrary, ...unknown } = others
  const [stranger] = Object.keys(unknown)
  if (stranger !== undefined) throw new TypeError(`"quirks.${stranger}" is not known`)
  if (libraryParameters !== undefined && typeof libraryParameters !== 'string') {
    throw new TypeError('"quirks.libraryParameters" must be a text')
  }
  if (maxSessions !== undefined && !(typeof maxSessions === 'number' && maxSessions >= 1)) {
    throw new TypeError('"quirks.maxSessions" must be a number from 1')
  }
  return {
    ...(libraryParameters === undefined ? {} : { libraryParameters }),
    ...(maxSessions === undefined ? {} : { maxSessions }),
    ...flag('generatesAlone', generatesAlone),
    ...flag('namesByPlace', namesByPlace),
    ...flag('loginPerLibrary', loginPerLibrary),
    ...texts('environment', environment),
    ...texts('omitAttributes', omitAttributes),
    ...(storage === undefined ? {} : { storage: toStorage(storage) }),
  }
}

function toStorage(value: unknown): TokenStorage {
  if (isRecord(value) && typeof value['environment'] === 'string' && typeof value['key'] === 'string') {
    return { environment: value['environment'], key: value['key'] }
  }
  throw new TypeError('"quirks.storage" must have "environment" and "key"')
}

function flag<Name extends string>(name: Name, value: unknown): Partial<Record<Name, boolean>> {
  if (value === undefined) return {}
  if (typeof value !== 'boolean') throw new TypeError(`"quirks.${name}" must be true or false`)
  const result: Partial<Record<string, boolean>> = { [name]: value }
  return result
}

function texts<Name extends string>(name: Name, value: unknown): Partial<Record<Name, string[]>> {
  if (value === undefined) return {}
  if (!isTexts(value)) throw new TypeError(`"quirks.${name}" must be a list of texts`)
  const result: Partial<Record<string, string[]>> = { [name]: value }
  return result
}

function isTexts(value: unknown): value is string[] {
  return Array.isArray(value) && value.every((item) => typeof item === 'string')
}

function isRecord(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
