import type { DamagedJournal, JournalSummary } from '../agent/journal-inspection.ts'

/** What the commands about a journal are told. */
export interface JournalOptions {
  /** The registration id of the device whose journal it must be. */
  readonly device?: string
}

/** What a journal holds, one fact a line. */
export function contentsInWords(contents: JournalSummary): string {
  const { device, schema, records, connection, roll, active, generations, lastAt } = contents
  const facts: [name: string, value: string][] = [
    ['device', device],
    ['schema version', String(schema)],
    ['records', String(records)],
    ['connection', connection],
    ['roll', roll],
    ['active generation', active === null ? 'none yet' : activeInWords(active)],
    ['generations', generations.length === 0 ? 'none yet' : generations.join(', ')],
    ['last event', lastAt === null ? 'none yet' : instantInWords(lastAt)],
  ]
  return facts.map(([name, value]) => `  ${name.padEnd(18)} ${value}\n`).join('')
}

function activeInWords({ generation, certificate }: NonNullable<JournalSummary['active']>): string {
  if (certificate === null) return `${generation}, without a certificate`
  return `${generation}, thumbprint ${certificate.thumbprint}, valid until ${instantInWords(certificate.notAfter)}`
}

function instantInWords(instant: number): string {
  return new Date(instant).toISOString()
}

/** Where a journal is damaged, and how much stands from there on. */
export function damageInWords({ file, byte, lostBytes, lostRecords }: DamagedJournal): string {
  const records =
    lostRecords === 0 ? '' : `; among them ${count(lostRecords, 'record')} that need the damaged one`
  return `${file} is damaged at byte ${byte}: from there on ${count(lostBytes, 'byte')} cannot be used${records}.\n`
}

/** `1 byte`, `2 bytes`. */
export function count(number: number, noun: string): string {
  return `${number} ${noun}${number === 1 ? '' : 's'}`
}
