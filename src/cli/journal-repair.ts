import { lockFolder } from '../agent/folder-lock.ts'
import type { DamagedJournal } from '../agent/journal-inspection.ts'
import { repairJournal } from '../agent/journal-repair.ts'
import { contentsInWords, damageInWords, type JournalOptions } from './journal-in-words.ts'
import type { Report } from './report.ts'

/**
 * `leafkeeper journal repair`: keeps the damaged file and what is readable before the damage. Does nothing to a sound
 * journal, and nothing while an agent uses the folder.
 */
export async function journalRepair(folder: string, { device }: JournalOptions): Promise<Report> {
  const lock = (path: string): Promise<() => Promise<void>> => lockFolder(path, 'leafkeeper journal repair')
  const { found, keptAs } = await repairJournal(folder, { lock, device })
  const words =
    found.condition === 'damaged' && keptAs !== null
      ? repairedInWords(found, keptAs)
      : `Nothing to repair: ${found.file} ${found.condition === 'absent' ? 'does not exist' : 'is sound'}.\n`
  return { exit: 'done', words, data: { repaired: keptAs !== null, keptAs, found } }
}

function repairedInWords(found: DamagedJournal, keptAs: string): string {
  return [
    damageInWords(found).replace(' is damaged ', ' was damaged '),
    `The damaged file is kept as ${keptAs}.\n`,
    found.contents === null
      ? 'Nothing could be read before the damage, so there is no journal now. At its next start the agent finds its\nidentity on the token and asks DPS which generation is accepted.\n'
      : `The journal now ends before the damage:\n${contentsInWords(found.contents)}At its next start the agent compares it with the token, and goes on with what is really there.\n`,
    'A roll that was asked for because of a breach, and that was not over, has to be asked for again.\n',
  ].join('')
}
