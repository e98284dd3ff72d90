import { repairCommand } from '../agent/journal-errors.ts'
import { inspectJournal, type JournalCondition, type JournalSummary } from '../agent/journal-inspection.ts'
import { contentsInWords, count, damageInWords, type JournalOptions } from './journal-in-words.ts'
import type { Report } from './report.ts'

/** `leafkeeper journal check`: what the journal of a state folder holds, or where it is damaged. Changes nothing. */
export async function journalCheck(folder: string, { device }: JournalOptions): Promise<Report> {
  const journal = await inspectJournal(folder, { device })
  return {
    exit: journal.condition === 'damaged' ? 'damaged' : 'done',
    words: inWords(folder, journal),
    data: journal,
  }
}

function inWords(folder: string, journal: JournalCondition): string {
  switch (journal.condition) {
    case 'absent':
      return `There is no journal in ${folder}: an agent that starts with it looks for its identity on the token.\n`
    case 'sound':
      return `${journal.file} is sound.\n${contentsInWords(journal.contents)}${tornInWords(journal.tornBytes)}`
    case 'damaged':
      return `${damageInWords(journal)}${readableInWords(journal.contents)}Run: ${repairCommand(journal.file)}\n`
  }
}

function tornInWords(tornBytes: number): string {
  return tornBytes === 0
    ? ''
    : `Behind it stands a record that was not written to its end (${count(tornBytes, 'byte')}); an agent drops it at its start.\n`
}

function readableInWords(contents: JournalSummary | null): string {
  return contents === null
    ? 'Nothing before that byte can be read.\n'
    : `Before that byte it holds:\n${contentsInWords(contents)}`
}
