import { dirname } from 'node:path'
import { systemDisk, type JournalDisk } from './journal-disk.ts'
import { errnoOf, writable } from './journal-errors.ts'
import { readCondition, type DamagedJournal, type JournalCondition } from './journal-inspection.ts'
import { writeNew, type LockFolder } from './journal.ts'

/** What a repair is made of. */
export interface RepairOptions {
  readonly lock: LockFolder
  /** The registration id of the device whose journal it must be; default: anyone's. */
  readonly device?: string | undefined
  readonly disk?: JournalDisk
}

/** What a repair came to. */
export interface JournalRepair {
  /** How the journal was found. */
  readonly found: JournalCondition
  /** The name under which the damaged file is kept; `null` where there was no damage and nothing was changed. */
  readonly keptAs: string | null
}

/**
 * Makes a damaged journal one that an agent starts with. It then holds the records before the damage; where there are
 * none there is no journal, and the agent finds its identity on the token. In both cases the agent believes the token
 * in what is there: see `reconcile.ts`.
 *
 * The damaged file stays as it is, beside the journal, under a name that nothing had. At every moment, also after a loss
 * of power or an error of the disk, the folder holds the damaged journal or the repaired one.
 *
 * @throws LeafkeeperError `STATE_FOLDER_IN_USE` with who uses it, `JOURNAL_UNWRITABLE`, and what `inspectJournal` throws
 */
export async function repairJournal(
  folder: string,
  { lock, device, disk = systemDisk }: RepairOptions,
): Promise<JournalRepair> {
  // Says what is wrong with the folder before anything is made in it.
  await readCondition(folder, disk, device)
  const unlock = await lock(folder)
  try {
    const { journal: found, bytes } = await readCondition(folder, disk, device)
    if (found.condition !== 'damaged') return { found, keptAs: null }
    return { found, keptAs: await writable(found.file, () => replaceDamaged(disk, found, bytes)) }
  } finally {
    await unlock()
  }
}

async function replaceDamaged(disk: JournalDisk, found: DamagedJournal, bytes: Buffer): Promise<string> {
  const { file, byte } = found
  const folder = dirname(file)
  // What may lack room comes first. Not under the agent's own `journal.next`: what a crash left there is kept as well.
  const repaired =
    byte === 0 ? null : await writeLike(disk, file, `${file}.repaired`, bytes.subarray(0, byte))
  const keptAs = await keepBeside(disk, file)
  await disk.syncFolder(folder)
  if (repaired === null) await disk.unlink(file)
  else await disk.rename(repaired, file)
  await disk.syncFolder(folder)
  return keptAs
}

/** A new file of the same owner as another: a repair by root must leave a journal that the agent's user can read. */
async function writeLike(disk: JournalDisk, model: string, path: string, text: Buffer): Promise<string> {
  const file = await writeNew(disk, path, text)
  await file.close()
  await disk.giveOwner(path, model)
  return path
}

/** Gives a file a second name: `journal.damaged-1`, or the next one that is free. */
async function keepBeside(disk: JournalDisk, file: string): Promise<string> {
  for (let number = 1; ; number += 1) {
    const name = `${file}.damaged-${number}`
    try {
      await disk.link(file, name)
      return name
    } catch (error) {
      if (errnoOf(error) !== 'EEXIST') throw error
    }
  }
}
