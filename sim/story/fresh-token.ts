import { randomBytes } from 'node:crypto'
import { rmSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import {
  initialiseToken,
  loadProfile,
  modulePath,
  prepareSoftHsm,
  Secret,
  type OpenTokenOptions,
} from 'leafkeeper'

/** A SoftHSM token for one run. */
export interface FreshToken {
  readonly options: OpenTokenOptions
  readonly folder: string
  /** Path of the PKCS#11 module. */
  readonly module: string
  remove(): Promise<void>
}

/**
 * Makes a fresh SoftHSM token below the project's state folder; its PIN stands in a file beside it. A process that
 * ends before it has removed the token removes it then.
 */
export async function freshToken(purpose: string, stateFolder = '.leafkeeper'): Promise<FreshToken> {
  const parent = resolve(stateFolder)
  await mkdir(parent, { recursive: true, mode: 0o700 })
  const folder = await mkdtemp(join(parent, `${purpose}-`))
  const removeNow = (): void => rmSync(folder, { recursive: true, force: true })
  process.once('exit', removeNow)
  Object.assign(process.env, prepareSoftHsm(join(folder, 'softhsm')))
  const module = modulePath(loadProfile('softhsm'))
  const pin = randomBytes(12).toString('hex')
  const pinFile = join(folder, 'pin')
  await writeFile(pinFile, pin, { mode: 0o600 })
  const label = `leafkeeper-${purpose}`
  initialiseToken({
    module,
    label,
    pin: new Secret(pin),
    soPin: new Secret(randomBytes(12).toString('hex')),
  })
  return {
    options: { module, token: { label }, pin: { file: pinFile } },
    folder,
    module,
    async remove() {
      await rm(folder, { recursive: true, force: true })
      process.off('exit', removeNow)
    },
  }
}
