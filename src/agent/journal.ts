import { join } from 'node:path'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { AgentEvent } from './events.ts'
import { systemDisk, type JournalDisk, type JournalFile } from './journal-disk.ts'
import { errnoOf, isDiskUnwritable, journalDamaged, writable } from './journal-errors.ts'
import { encodeRecord, journalVersion, readRecords } from './journal-format.ts'
import { restoreState } from './journal-versions.ts'
import type { AgentState } from './states.ts'

/** Where the agent keeps what it must know after a restart. */
export interface Journal {
  /** What to go on with. */
  read(): Promise<JournalContents>
  /** Begins a new journal with this state; the old one stays until the new one is safely on disk. */
  begin(state: AgentState): Promise<void>
  /** Resolves when the event, and what it has changed in the state, are safely on disk. */
  append(event: AgentEvent, changes: Partial<AgentState>): Promise<void>
  close(): Promise<void>
}

/** What a journal holds. */
export interface JournalContents {
  /** The state that everything recorded comes to; `null` where there is no journal yet. */
  readonly state: AgentState | null
  /** What happened since the state that the journal begins with. */
  readonly events: readonly AgentEvent[]
  /** Length of a last record that was not written to its end, in bytes; it is dropped. */
  readonly tornBytes: number
}

/** Keeps others out of the folder of a journal; resolves with what lets them in again. */
export type LockFolder = (folder: string) => Promise<() => Promise<void>>

/** What a journal in a folder is made of. */
export interface FileJournalParts {
  readonly lock: LockFolder
  readonly disk?: JournalDisk
}

const nothing: JournalContents = { state: null, events: [], tornBytes: 0 }

/** A journal that lives as long as the process: for simulators and tests that need no restart. */
export function memoryJournal(): Journal {
  let contents = nothing
  return {
    read: () => Promise.resolve(contents),
    begin: (state) => {
      contents = { ...nothing, state }
      return Promise.resolve()
    },
    append: (event, changes) => {
      const { state, events } = contents
      if (state === null) return Promise.reject(notBegun())
      contents = { ...contents, state: { ...state, ...changes }, events: [...events, event] }
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}

/** The file in a state folder that holds the journal. */
export function journalPath(folder: string): string {
  return join(folder, 'journal')
}

/**
 * A journal in a folder: the file `journal`, of one record a line. The first one holds a state, each next one an event
 * and what it has changed, flushed to disk one by one. It holds certificates and identifiers, never a key or a PIN.
 *
 * It is read and written by one process at a time. A disk on which nothing can be written, not even the lock, can still
 * be read from; the lock is then taken before the first record.
 *
 * @throws LeafkeeperError `JOURNAL_DAMAGED` with file and offset where a record before the last one is damaged,
 * `JOURNAL_UNREADABLE`, `JOURNAL_UNKNOWN_VERSION`, `JOURNAL_UNWRITABLE`, `STATE_FOLDER_IN_USE`
 */
export function fileJournal(folder: string, { lock, disk = systemDisk }: FileJournalParts): Journal {
  const path = journalPath(folder)
  let unlock: (() => Promise<void>) | null = null
  /** What was read without the lock. */
  let seen: { readonly bytes: Buffer | null } | null = null
  let file: JournalFile | null = null
  /** Where the next record goes. What a failed write has left behind it is cut off first. */
  let end = 0
  let tornBehindEnd = false
  /** The file has taken its name, and a loss of power could still undo that. */
  let nameIsSafe = true

  /** A new file takes the journal's name when it is on disk. */
  async function replace(text: Buffer): Promise<void> {
    const next = await writeNew(disk, `${path}.next`, text)
    try {
      await disk.rename(`${path}.next`, path)
    } catch (error) {
      await next.close()
      throw error
    }
    // From here on the new file is the journal, whatever else fails.
    const old = file
    file = next
    end = text.length
    tornBehindEnd = false
    nameIsSafe = false
    await old?.close()
    await makeNameSafe()
  }

  async function makeNameSafe(): Promise<void> {
    await disk.syncFolder(folder)
    nameIsSafe = true
  }

  /** Nobody else has written what this process has only read. */
  async function takeLock(): Promise<void> {
    if (unlock !== null) return
    await disk.makeFolder(folder)
    const release = await lock(folder)
    if (seen !== null && !sameBytes(seen.bytes, await readJournalFile(disk, path))) {
      await release()
      throw new LeafkeeperError('STATE_FOLDER_IN_USE', {
        message: `Expected ${path} as it was read at the start, found that another agent has written it since.`,
      })
    }
    unlock = release
  }

  return {
    async read() {
      try {
        await writable(path, takeLock)
      } catch (error) {
        if (!isDiskUnwritable(error)) throw error
      }
      const bytes = await readJournalFile(disk, path)
      if (unlock === null) seen = { bytes }
      return bytes === null ? nothing : contentsOf(path, bytes)
    },
    async begin(state) {
      await writable(path, async () => {
        await takeLock()
        await replace(encodeRecord({ schema: journalVersion, state }))
      })
    },
    async append(event, changes) {
      await writable(path, async () => {
        if (file === null) throw notBegun()
        if (!nameIsSafe) await makeNameSafe()
        if (tornBehindEnd) await file.truncate(end)
        const record = encodeRecord({ schema: journalVersion, event, changes })
        tornBehindEnd = true
        await writeAll(file, record, end)
        await file.sync()
        end += record.length
        tornBehindEnd = false
      })
    },
    async close() {
      const [open, release] = [file, unlock]
      file = unlock = null
      try {
        await open?.close()
      } finally {
        await release?.()
      }
    },
  }
}

/**
 * Reads the journal of a folder as an agent would.
 *
 * @throws LeafkeeperError `JOURNAL_DAMAGED`, `JOURNAL_UNKNOWN_VERSION`
 */
export function contentsOf(path: string, bytes: Buffer): JournalContents {
  const { records, end, ending } = readRecords(bytes)
  if (ending === 'damaged') throw journalDamaged(path, end)
  const { state, events } = restoreState(path, records)
  return { state, events, tornBytes: bytes.length - end }
}

/** @throws LeafkeeperError `JOURNAL_UNREADABLE` */
export async function readJournalFile(disk: JournalDisk, path: string): Promise<Buffer | null> {
  try {
    return await disk.read(path)
  } catch (cause) {
    throw new LeafkeeperError('JOURNAL_UNREADABLE', {
      message: `Expected to read ${path}, got: ${messageOf(cause)}.`,
      cause,
      reason: errnoOf(cause) ?? 'unknown',
    })
  }
}

/** Writes a file of this name that is whole and on disk; whoever had the name before is not touched. */
export async function writeNew(disk: JournalDisk, path: string, text: Buffer): Promise<JournalFile> {
  const file = await disk.create(path)
  try {
    await writeAll(file, text, 0)
    await file.sync()
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

async function writeAll(file: JournalFile, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length;)
    written += await file.write(bytes.subarray(written), position + written)
}

function sameBytes(one: Buffer | null, other: Buffer | null): boolean {
  return one === null || other === null ? one === other : one.equals(other)
}

function notBegun(): Error {
  return new Error('the journal was not begun')
}
