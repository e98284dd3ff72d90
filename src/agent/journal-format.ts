import { crc32 } from 'node:zlib'

/**
 * The version of the journals that are written. It counts the layouts of records and the shapes of what is in them;
 * how older ones are read is in `journal-versions.ts`.
 */
export const journalVersion = 2

/** A record as it stands in the file: what is in it depends on the version it was written in. */
export interface StoredRecord {
  readonly schema: number
  readonly state?: unknown
  readonly event?: unknown
  readonly changes?: unknown
}

/** What the bytes of a journal hold. */
export interface JournalText {
  readonly records: readonly StoredRecord[]
  /** Where the last readable record ends, in bytes. */
  readonly end: number
  /**
   * `torn`: behind `end` lies a record that was not written to its end, because power was lost; its effects were never
   * performed. `damaged`: behind `end` lies something that no crash leaves.
   */
  readonly ending: 'whole' | 'torn' | 'damaged'
}

/** One record: CRC-32 of the JSON and its length in bytes, both in hexadecimal, then the JSON; one a line. */
export function encodeRecord(record: StoredRecord): Buffer {
  const json = JSON.stringify(record)
  return Buffer.from(`${hex(crc32(json))} ${hex(Buffer.byteLength(json))} ${json}\n`)
}

/** Reads as many records as there are, from the first byte on. */
export function readRecords(bytes: Buffer): JournalText {
  const records: StoredRecord[] = []
  let end = 0
  while (end < bytes.length) {
    const found = recordAt(bytes, end)
    if (found === undefined) break
    records.push(found.record)
    end = found.end
  }
  return { records, end, ending: endingOf(bytes, end) }
}

function hex(value: number): string {
  return value.toString(16).padStart(8, '0')
}

const header = /^([0-9a-f]{8}) ([0-9a-f]{8}) $/
const headerLength = '00000000 00000000 '.length

function recordAt(bytes: Buffer, offset: number): { record: StoredRecord; end: number } | undefined {
  const start = offset + headerLength
  const [, checksum, length] = header.exec(bytes.toString('latin1', offset, start)) ?? []
  if (checksum === undefined || length === undefined) return undefined
  const end = start + Number.parseInt(length, 16)
  const json = bytes.subarray(start, end)
  if (bytes[end] !== 0x0a || crc32(json) !== Number.parseInt(checksum, 16)) return undefined
  return { record: JSON.parse(json.toString('utf8')) as StoredRecord, end: end + 1 }
}

/**
 * A journal takes its name when its first record is on disk, and records follow one at a time: only the last one can
 * be torn, and never the first. Whatever else cannot be read was changed by something else than a crash.
 */
function endingOf(bytes: Buffer, end: number): JournalText['ending'] {
  if (end === 0) return 'damaged'
  if (end === bytes.length) return 'whole'
  const newline = bytes.indexOf(0x0a, end)
  const isLastLine = newline === -1 || newline === bytes.length - 1
  const holdsRecord = recordsBehind(bytes, end + 1).next().done !== true
  return isLastLine && !holdsRecord ? 'torn' : 'damaged'
}

/** The readable records that begin anywhere from here on, also one whose predecessor lost its end or its line break. */
export function* recordsBehind(bytes: Buffer, from: number): Generator<StoredRecord, undefined> {
  const rest = bytes.toString('latin1', from)
  for (const { index } of rest.matchAll(/(?=[0-9a-f]{8} [0-9a-f]{8} \{)/g)) {
    const found = recordAt(bytes, from + index)
    if (found !== undefined) yield found.record
  }
}
