import { chmodSync, mkdirSync, writeFileSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { LeafkeeperError } from '../errors.ts'

/**
 * Prepares a folder that holds SoftHSM's tokens and its configuration, so that the system's own tokens are never
 * touched. Folders are made with mode 0700; may be called again.
 *
 * SoftHSM reads `SOFTHSM2_CONF` once, at C_Initialize: one process has one such folder. Set it on `process.env` of
 * the main thread (a worker thread's is a copy that libraries do not see).
 *
 * @example
 * ```ts
 * Object.assign(process.env, prepareSoftHsm('.leafkeeper/softhsm'))
 * ```
 * @returns The environment variables to set before the module is opened.
 */
export function prepareSoftHsm(folder: string): { readonly SOFTHSM2_CONF: string } {
  const home = resolve(folder)
  // The file knows neither quotes nor escapes (softhsm2.conf(5)).
  if (/[\r\n#]/.test(home)) {
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: `SoftHSM cannot keep its tokens in ${JSON.stringify(home)}: its configuration has no way to write such a path.`,
    })
  }
  const tokens = join(home, 'tokens')
  const configuration = join(home, 'softhsm2.conf')
  mkdirSync(tokens, { recursive: true, mode: 0o700 })
  chmodSync(home, 0o700)
  chmodSync(tokens, 0o700)
  writeFileSync(
    configuration,
    [
      `directories.tokendir = ${tokens}`,
      'objectstore.backend = file',
      'log.level = ERROR',
      'slots.removable = false',
      '',
    ].join('\n'),
    { mode: 0o600 },
  )
  return { SOFTHSM2_CONF: configuration }
}
