import { randomBytes } from 'node:crypto'
import { closeSync, openSync, unlinkSync, writeSync } from 'node:fs'
import { join } from 'node:path'
import { LeafkeeperError } from '../errors.ts'
import type { Secret } from '../secret.ts'

/** In memory on every Linux. */
const memory = '/dev/shm'

/**
 * Lends a PIN to a library that reads it from a file, for as long as `use` runs. The file is in memory and has no name:
 * only this process can open it, through its own descriptor, and it is gone with that, also after a crash.
 *
 * @param use Is given the path of the file.
 * @throws LeafkeeperError `HSM_PIN_MISSING` where the machine has no such memory
 */
export function withPinFile<Result>(pin: Secret, use: (path: string) => Result): Result {
  const descriptor = openNameless()
  try {
    writeSync(descriptor, pin.reveal())
    return use(`/proc/self/fd/${descriptor}`)
  } finally {
    closeSync(descriptor)
  }
}

function openNameless(): number {
  const path = join(memory, `leafkeeper-${randomBytes(8).toString('hex')}`)
  try {
    const descriptor = openSync(path, 'wx+', 0o600)
    unlinkSync(path)
    return descriptor
  } catch (cause) {
    throw new LeafkeeperError('HSM_PIN_MISSING', {
      message: `TLS logs in to this token by itself, and its PIN cannot be lent to it: there is no place for it in ${memory}.`,
      cause,
    })
  }
}
