import { dirname } from 'node:path'
import { LeafkeeperError, messageOf } from '../errors.ts'

/**
 * Runs what writes to the disk, with an error that says what it was about.
 *
 * @throws LeafkeeperError `JOURNAL_UNWRITABLE` whose `reason` is the system's name for it (`ENOSPC`)
 */
export async function writable<Result>(what: string, write: () => Promise<Result>): Promise<Result> {
  try {
    return await write()
  } catch (cause) {
    if (cause instanceof LeafkeeperError) throw cause
    const reason = errnoOf(cause)
    throw new LeafkeeperError('JOURNAL_UNWRITABLE', {
      message: `Expected to write ${what}, got: ${messageOf(cause)}.`,
      cause,
      ...(reason === undefined ? {} : { reason }),
    })
  }
}

/** Whether it is the disk that takes nothing: full, read-only, or failing. Anything else a person has set up wrong. */
export function isDiskUnwritable(error: unknown): boolean {
  if (!(error instanceof LeafkeeperError) || error.code !== 'JOURNAL_UNWRITABLE') return false
  return ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO'].includes(error.reason ?? '')
}

/** The system's name for what went wrong; `undefined` for an error of another kind. */
export function errnoOf(cause: unknown): string | undefined {
  return cause instanceof Error && 'code' in cause && typeof cause.code === 'string' ? cause.code : undefined
}

/** @param offset the byte where the first record begins that cannot be read */
export function journalDamaged(path: string, offset: number): LeafkeeperError {
  return new LeafkeeperError('JOURNAL_DAMAGED', {
    message: `Expected a record with a matching checksum in ${path} at byte ${offset}, found something else. Run: ${repairCommand(path)}.`,
  })
}

/** What a person types to repair the journal of this path. */
export function repairCommand(path: string): string {
  return `leafkeeper journal repair ${quoted(dirname(path))}`
}

/** @param expected the registration id of the device that wants to go on with it */
export function journalOfOtherDevice(expected: string, found: string): LeafkeeperError {
  return new LeafkeeperError('JOURNAL_OTHER_DEVICE', {
    message: `Expected the journal of ${expected}, found that of ${found}.`,
  })
}

/** An argument as a shell takes it. */
function quoted(argument: string): string {
  return /^[\w./:@-]+$/.test(argument) ? argument : `'${argument.replaceAll("'", `'\\''`)}'`
}
