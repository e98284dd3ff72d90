import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { LeafkeeperError } from '../errors.ts'
import { initialiseToken } from '../hsm/initialise-token.ts'
import type { OpenTokenOptions } from '../hsm/open-token.ts'
import { loadProfile, modulePath } from '../hsm/profile.ts'
import { prepareSoftHsm } from '../hsm/softhsm.ts'
import { Secret } from '../secret.ts'

export interface TemporaryTokenOptions {
  /** Label of the token, at most 32 bytes of UTF-8. Default `test-` and eight hexadecimal digits. */
  readonly label?: string
  /** The folder in which a folder for the token is made. Default: the system's folder for temporary files. */
  readonly parent?: string
}

/** A SoftHSM token that nobody misses. */
export interface TemporaryToken {
  /** For `DeviceAgent.start({ token })`. The PIN stands in a file, and nowhere else. */
  readonly options: OpenTokenOptions
  /** Everything of the token is in here, and nobody else may read it; there is room for an agent's state folder too. */
  readonly folder: string
  /** Path of the PKCS#11 module. */
  readonly module: string
  readonly label: string
  /** Removes the folder; what was not removed before is when the process exits. May be called again. */
  remove(): Promise<void>
}

/** SoftHSM keeps to the configuration that it read first: so much of it is the process's, and not ours to change. */
let softHsm: string | undefined

/**
 * Makes a SoftHSM token with a PIN of its own, for one run of tests. SoftHSM reads its configuration once a process,
 * and OpenSSL lists tokens once: call it once a process, before anything uses TLS with a key of an HSM.
 *
 * @throws LeafkeeperError `HSM_MODULE_NOT_FOUND` when SoftHSM is not installed, `AGENT_CONFIG_INVALID` when this process
 * has made one already, or for a label that is too long
 * @example
 * ```ts
 * const token = await temporaryToken()
 * const agent = await DeviceAgent.start({ token: token.options, ...others })
 * // ...
 * await agent.stop()
 * await token.remove()
 * ```
 */
export async function temporaryToken(options: TemporaryTokenOptions = {}): Promise<TemporaryToken> {
  if (softHsm !== undefined)
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message:
        `Expected one temporary token a process, because SoftHSM reads its configuration once; this process has made ` +
        `one in ${softHsm}. Share it, or give each test file a process of its own (vitest: pool "forks").`,
    })
  const module = modulePath(loadProfile('softhsm'))
  const label = options.label ?? `test-${randomBytes(4).toString('hex')}`
  const parent = resolve(options.parent ?? tmpdir())
  await mkdir(parent, { recursive: true, mode: 0o700 })
  const folder = await mkdtemp(join(parent, 'leafkeeper-token-'))
  softHsm = folder
  const removeNow = (): void => rmSync(folder, { recursive: true, force: true })
  process.once('exit', removeNow)
  Object.assign(process.env, prepareSoftHsm(join(folder, 'softhsm')))
  const pin = randomBytes(12).toString('hex')
  const file = join(folder, 'pin')
  await writeFile(file, pin, { mode: 0o600 })
  const soPin = new Secret(randomBytes(12).toString('hex'))
  initialiseToken({ module, label, pin: new Secret(pin), soPin })
  return {
    options: { module, token: { label }, pin: { file } },
    folder,
    module,
    label,
    async remove() {
      await rm(folder, { recursive: true, force: true })
      process.off('exit', removeNow)
    },
  }
}
