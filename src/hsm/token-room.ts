import { readFileSync, statfsSync } from 'node:fs'
import type { TokenStorage } from './profile.ts'

/** A generation is a dozen small files of SoftHSM, each with a block of its own. */
const roomForAGeneration = 64 * 1024

/** Whether the disk under a token has room for another generation; `undefined` when that cannot be told. */
export function hasRoom({ environment, key }: TokenStorage): boolean | undefined {
  try {
    const configuration = readFileSync(process.env[environment] ?? '', 'utf8')
    const line = configuration.split('\n').find((each) => each.split('=', 1)[0]?.trim() === key)
    if (line === undefined) return undefined
    const { bavail, bsize, files, ffree } = statfsSync(line.slice(line.indexOf('=') + 1).trim())
    // Some file systems count no files.
    return bavail * bsize >= roomForAGeneration && (files === 0 || ffree >= 12)
  } catch {
    return undefined
  }
}
