import { stat } from 'node:fs/promises'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { systemDisk, type JournalDisk } from './journal-disk.ts'
import { errnoOf, journalOfOtherDevice } from './journal-errors.ts'
import { readRecords, recordsBehind, type StoredRecord } from './journal-format.ts'
import { restoreState } from './journal-versions.ts'
import { journalPath, readJournalFile } from './journal.ts'
import type { CertificateFacts, Connection, Instant, Roll } from './states.ts'

/** What the readable records of a journal come to. */
export interface JournalSummary {
  /** The registration id of the device. */
  readonly device: string
  /** The version of the layout that it was written in. */
  readonly schema: number
  /** How many records can be read, with the one that it begins with. */
  readonly records: number
  readonly connection: Connection['phase']
  readonly roll: Roll['phase']
  /** The generation a hub has accepted last, and its certificate; `null` before the first. */
  readonly active: { readonly generation: number; readonly certificate: CertificateFacts | null } | null
  /** The numbers of all generations that were known. */
  readonly generations: readonly number[]
  /** When the last event happened that is kept; `null` before the first. */
  readonly lastAt: Instant | null
}

/** A journal that was changed by something else than a crash. */
export interface DamagedJournal {
  readonly condition: 'damaged'
  readonly file: string
  /** Where the first record begins that cannot be read, counted from 0. */
  readonly byte: number
  /** What stands before that byte; `null` where it is nothing, so that not even the device is known. */
  readonly contents: JournalSummary | null
  /** Length of what stands from that byte on. */
  readonly lostBytes: number
  /** How many whole records are among it. Without those before them it is not known what they come to. */
  readonly lostRecords: number
}

/** How the journal of a state folder is. An agent starts with one that is `absent` or `sound`. */
export type JournalCondition =
  | { readonly condition: 'absent'; readonly file: string }
  | {
      readonly condition: 'sound'
      readonly file: string
      readonly contents: JournalSummary
      /** Length of a last record that was not written to its end, in bytes; an agent drops it. */
      readonly tornBytes: number
    }
  | DamagedJournal

/** How a journal is looked at. */
export interface InspectionOptions {
  /** The registration id of the device whose journal it must be; default: anyone's. */
  readonly device?: string | undefined
  readonly disk?: JournalDisk
}

/**
 * Says what the journal of a state folder holds, or where it is damaged. It changes nothing and takes no lock, so an
 * agent may be at work: a record that it is writing at that moment counts as torn.
 *
 * @param folder the state folder of an agent
 * @throws LeafkeeperError `JOURNAL_UNREADABLE` also where there is no such folder, `JOURNAL_UNKNOWN_VERSION`,
 * `JOURNAL_OTHER_DEVICE`
 *
 * @example
 * ```ts
 * const journal = await inspectJournal('/var/lib/leafkeeper')
 * if (journal.condition === 'damaged') console.log(`${journal.file} is damaged at byte ${journal.byte}`)
 * ```
 */
export async function inspectJournal(
  folder: string,
  { device, disk = systemDisk }: InspectionOptions = {},
): Promise<JournalCondition> {
  return (await readCondition(folder, disk, device)).journal
}

/** The condition of a journal, with the bytes that it was found in. */
export async function readCondition(
  folder: string,
  disk: JournalDisk,
  device: string | undefined,
): Promise<{ readonly journal: JournalCondition; readonly bytes: Buffer }> {
  const file = journalPath(folder)
  const bytes = await readJournalFile(disk, file)
  if (bytes === null) {
    await requireFolder(folder)
    return { journal: { condition: 'absent', file }, bytes: Buffer.alloc(0) }
  }
  const journal = conditionOf(file, bytes)
  const found = journal.contents?.device
  if (device !== undefined && found !== undefined && found !== device)
    throw journalOfOtherDevice(device, found)
  return { journal, bytes }
}

function conditionOf(file: string, bytes: Buffer): Exclude<JournalCondition, { condition: 'absent' }> {
  const { records, end, ending } = readRecords(bytes)
  const contents = summaryOf(file, records)
  if (ending !== 'damaged' && contents !== null)
    return { condition: 'sound', file, contents, tornBytes: bytes.length - end }
  const byte = contents === null ? 0 : end
  const lostRecords = [...recordsBehind(bytes, byte)].length
  return { condition: 'damaged', file, byte, contents, lostBytes: bytes.length - byte, lostRecords }
}

/** `null` where the records do not begin with a state. */
function summaryOf(file: string, records: readonly StoredRecord[]): JournalSummary | null {
  const [first] = records
  if (first === undefined) return null
  try {
    const { state } = restoreState(file, records)
    const active = state.generations.find(({ number }) => number === state.active)
    return {
      device: state.commonName,
      schema: first.schema,
      records: records.length,
      connection: state.connection.phase,
      roll: state.roll.phase,
      active:
        state.active === null ? null : { generation: state.active, certificate: active?.certificate ?? null },
      generations: state.generations.map(({ number }) => number),
      lastAt: state.lastAt,
    }
  } catch (error) {
    if (error instanceof LeafkeeperError && error.code === 'JOURNAL_DAMAGED') return null
    throw error
  }
}

/** A folder without a journal is one thing, a mistyped name another. */
async function requireFolder(folder: string): Promise<void> {
  try {
    await stat(folder)
  } catch (cause) {
    throw new LeafkeeperError('JOURNAL_UNREADABLE', {
      message: `Expected the state folder of an agent at ${folder}, got: ${messageOf(cause)}.`,
      cause,
      reason: errnoOf(cause) ?? 'unknown',
    })
  }
}
