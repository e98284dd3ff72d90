import { readdir, readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { repairJournal, type JournalRepair } from '../../src/agent/journal-repair.ts'
import { faultyDisk, type FaultyDisk } from '../support/faulty-disk.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A journal with a byte changed in the middle, and one changed in its first record. */
const whole = await readFile(join(import.meta.dirname, 'journals/v2-overlap.journal'))
const middle = whole.indexOf(0x0a, whole.length / 2) + 1
const damages: [where: string, bytes: Buffer, repaired: Buffer | undefined][] = [
  ['in the middle', changed(middle + 50), whole.subarray(0, middle)],
  ['in its first record', changed(50), undefined],
]

function changed(at: number): Buffer {
  const bytes = Buffer.from(whole)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}

async function repair(folder: string, disk: FaultyDisk): Promise<JournalRepair> {
  return repairJournal(folder, { lock: () => Promise.resolve(() => Promise.resolve()), disk })
}

/** The files of a folder by name. */
async function filesIn(folder: string): Promise<Record<string, Buffer>> {
  const names = await readdir(folder)
  return Object.fromEntries(
    await Promise.all(names.map(async (name) => [name, await readFile(join(folder, name))] as const)),
  )
}

describe.each(damages)('the repair of a journal damaged %s', (_where, damaged, repaired) => {
  it.each(['ENOSPC', 'EDQUOT', 'EROFS', 'EIO'])(
    'on a disk that fails with %s at any operation leaves the damaged journal or the repaired one',
    async (code) => {
      for (let number = 0; ; number += 1) {
        const folder = await temporaryFolder()
        await writeFile(join(folder, 'journal'), damaged)
        const disk = faultyDisk()
        disk.fail(number, code)
        const failure: unknown = await repair(folder, disk).then(
          () => undefined,
          (error: unknown) => error,
        )
        const { journal, ...others } = await filesIn(folder)
        if (failure === undefined) {
          // It got to its end before that operation, and every one before was made to fail once.
          expect(disk.done.at(-1)).toBe('syncFolder')
          expect(number).toBe(disk.done.length)
          expect(number).toBeGreaterThan(repaired === undefined ? 5 : 9)
          expect({ journal, ...others }).toEqual({ journal: repaired, 'journal.damaged-1': damaged })
          return
        }
        expect(failure).toMatchObject({ code: 'JOURNAL_UNWRITABLE', reason: code })
        // What is not the journal any more is kept.
        if (journal?.equals(damaged) !== true) {
          expect(journal).toEqual(repaired)
          expect(others).toMatchObject({ 'journal.damaged-1': damaged })
        }
        disk.heal()
        await repair(folder, disk)
        const after = await filesIn(folder)
        expect(after['journal']).toEqual(repaired)
        expect(after['journal.damaged-1']).toEqual(damaged)
        expect(Object.keys(after).filter((name) => name.endsWith('.repaired'))).toEqual([])
      }
    },
  )
})

describe('a repair', () => {
  it('looks again once it has the lock: what an agent wrote meanwhile counts', async () => {
    const folder = await temporaryFolder()
    const path = join(folder, 'journal')
    await writeFile(path, changed(middle + 50))
    const { found, keptAs } = await repairJournal(folder, {
      lock: async () => {
        await writeFile(path, whole)
        return () => Promise.resolve()
      },
    })
    expect({ condition: found.condition, keptAs }).toEqual({ condition: 'sound', keptAs: null })
    expect(await readFile(path)).toEqual(whole)
  })
})
