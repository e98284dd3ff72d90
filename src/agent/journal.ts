import { constants } from 'node:fs'
import { mkdir, open, readFile, rename, type FileHandle } from 'node:fs/promises'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { AgentEvent } from './events.ts'
import type { AgentState } from './states.ts'

/** Where the agent keeps what it must know after a restart. */
export interface Journal {
  /** The state to begin with, and the events that came after it. */
  read(): Promise<JournalContents>
  /** Begins a new journal with this state; the old one stays until the new one is safely on disk. */
  begin(state: AgentState): Promise<void>
  /** Resolves when the event is safely on disk. */
  append(event: AgentEvent): Promise<void>
  close(): Promise<void>
}

/** `state` is `null` where there is no journal yet. */
export interface JournalContents {
  readonly state: AgentState | null
  readonly events: readonly AgentEvent[]
}

/** Counts the formats of the journal; a record of another one is not guessed at. */
const schema = 1

type JournalRecord =
  | { readonly schema: typeof schema; readonly state: AgentState }
  | { readonly schema: typeof schema; readonly event: AgentEvent }

/** A journal that lives as long as the process: for simulators and tests that need no restart. */
export function memoryJournal(): Journal {
  let contents: { state: AgentState | null; events: AgentEvent[] } = { state: null, events: [] }
  return {
    read: () => Promise.resolve({ state: contents.state, events: [...contents.events] }),
    begin: (state) => {
      contents = { state, events: [] }
      return Promise.resolve()
    },
    append: (event) => {
      contents.events.push(event)
      return Promise.resolve()
    },
    close: () => Promise.resolve(),
  }
}

/**
 * A journal in a folder: the file `journal`, one record a line as `CRC-32 length JSON`, both in hexadecimal, flushed
 * to disk after every record. It holds certificates and identifiers, never a key or a PIN.
 *
 * A torn last record (power was lost while it was written) is dropped: its effects were never performed.
 *
 * @throws LeafkeeperError `JOURNAL_DAMAGED` with file and offset where an earlier record is damaged,
 * `JOURNAL_UNREADABLE`, `JOURNAL_UNKNOWN_VERSION`, `JOURNAL_UNWRITABLE`
 */
export function fileJournal(folder: string): Journal {
  const path = join(folder, 'journal')
  let file: FileHandle | null = null
  /** Where the next record goes. What a failed write has left behind it is cut off first. */
  let end = 0
  let tornBehindEnd = false
  return {
    async read() {
      return parse(path, await readIfPresent(path))
    },
    async begin(state) {
      await writable(path, async () => {
        await mkdir(folder, { recursive: true, mode: 0o700 })
        const text = Buffer.from(encode({ schema, state }))
        const next = await writeNew(`${path}.next`, text)
        try {
          await rename(`${path}.next`, path)
        } catch (error) {
          await next.close()
          throw error
        }
        // From here on the new file is the journal, whatever else fails.
        const old = file
        file = next
        end = text.length
        tornBehindEnd = false
        await old?.close()
        await syncFolder(folder)
      })
    },
    async append(event) {
      await writable(path, async () => {
        if (file === null) throw new Error('the journal was not begun')
        if (tornBehindEnd) await file.truncate(end)
        const record = Buffer.from(encode({ schema, event }))
        tornBehindEnd = true
        await writeAt(file, record, end)
        await file.datasync()
        end += record.length
        tornBehindEnd = false
      })
    },
    async close() {
      await file?.close()
      file = null
    },
  }
}

/** Writes all bytes; a disk may take them in parts. */
async function writeAt(file: FileHandle, bytes: Buffer, position: number): Promise<void> {
  for (let written = 0; written < bytes.length;) {
    const { bytesWritten } = await file.write(bytes, written, bytes.length - written, position + written)
    written += bytesWritten
  }
}

/** The old journal stays in use until this one has been flushed and has taken its name. */
async function writeNew(path: string, text: Buffer): Promise<FileHandle> {
  const file = await open(path, constants.O_CREAT | constants.O_TRUNC | constants.O_WRONLY, 0o600)
  try {
    await writeAt(file, text, 0)
    await file.sync()
    return file
  } catch (error) {
    await file.close()
    throw error
  }
}

function encode(record: JournalRecord): string {
  const json = JSON.stringify(record)
  return `${hex(crc32(json))} ${hex(Buffer.byteLength(json))} ${json}\n`
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}

const headerLength = '00000000 00000000 '.length

function parse(path: string, bytes: Buffer): JournalContents {
  let state: AgentState | null = null
  const events: AgentEvent[] = []
  let offset = 0
  while (offset < bytes.length) {
    const record = recordAt(bytes, offset)
    if (record === 'torn') break
    if (record === 'damaged') throw damaged(path, offset)
    const version: number = record.value.schema
    if (version !== schema) throw unknownVersion(path, version)
    if ('state' in record.value) state = record.value.state
    else events.push(record.value.event)
    offset = record.end
  }
  if (state === null && events.length > 0) throw damaged(path, 0)
  return { state, events }
}

/** `torn` is a record that ends with the file; `damaged` is one that others follow. */
function recordAt(bytes: Buffer, offset: number): { value: JournalRecord; end: number } | 'torn' | 'damaged' {
  const header = /^([0-9a-f]{8}) ([0-9a-f]{8}) $/.exec(
    bytes.toString('latin1', offset, offset + headerLength),
  )
  const newline = bytes.indexOf(0x0a, offset)
  const last = newline === -1 || newline === bytes.length - 1
  if (header === null) return last ? 'torn' : 'damaged'
  const [, checksum = '', length = ''] = header
  const start = offset + headerLength
  const end = start + Number.parseInt(length, 16)
  if (end >= bytes.length) return last ? 'torn' : 'damaged'
  const json = bytes.subarray(start, end)
  if (bytes[end] !== 0x0a || crc32(json) !== Number.parseInt(checksum, 16)) return last ? 'torn' : 'damaged'
  return { value: JSON.parse(json.toString('utf8')) as JournalRecord, end: end + 1 }
}

function damaged(path: string, offset: number): LeafkeeperError {
  return new LeafkeeperError('JOURNAL_DAMAGED', {
    message: `Expected a record with a matching checksum in ${path} at byte ${offset}, found something else.`,
  })
}

function unknownVersion(path: string, found: unknown): LeafkeeperError {
  return new LeafkeeperError('JOURNAL_UNKNOWN_VERSION', {
    message: `Expected a journal of version ${schema} in ${path}, found version ${String(found)}.`,
  })
}

async function readIfPresent(path: string): Promise<Buffer> {
  try {
    return await readFile(path)
  } catch (cause) {
    const { code = 'unknown' } = cause as NodeJS.ErrnoException
    if (code === 'ENOENT') return Buffer.alloc(0)
    throw new LeafkeeperError('JOURNAL_UNREADABLE', {
      message: `Expected to read ${path}, got: ${messageOf(cause)}.`,
      cause,
      reason: code,
    })
  }
}

async function writable(path: string, write: () => Promise<void>): Promise<void> {
  try {
    await write()
  } catch (cause) {
    const { code } = cause as NodeJS.ErrnoException
    throw new LeafkeeperError('JOURNAL_UNWRITABLE', {
      message: `Expected to write ${path}, got: ${messageOf(cause)}.`,
      cause,
      ...(code === undefined ? {} : { reason: code }),
    })
  }
}

/** A renamed file is only safe when its folder has been flushed as well. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, constants.O_RDONLY)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
