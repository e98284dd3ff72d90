import { appendFile, chmod, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import { fileJournal } from '../../src/agent/journal.ts'
import { initialState } from '../../src/agent/machine.ts'
import type { AgentEvent } from '../../src/agent/events.ts'
import { dpsPolicy } from '../support/machine.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const state = initialState(dpsPolicy, 'gateway-7')
const event = (at: number): AgentEvent => ({ kind: 'woken', at, entropy: 0.5 })

async function journalWith(events: number): Promise<string> {
  const folder = await temporaryFolder()
  const journal = fileJournal(folder)
  await journal.begin(state)
  for (let at = 1; at <= events; at += 1) await journal.append(event(at))
  await journal.close()
  return folder
}

describe('the journal', () => {
  it('is empty where there is none', async () => {
    const journal = fileJournal(join(await temporaryFolder(), 'not', 'there'))
    expect(await journal.read()).toEqual({ state: null, events: [] })
  })

  it('gives back the state it began with and the events since', async () => {
    const folder = await journalWith(3)
    expect(await fileJournal(folder).read()).toEqual({ state, events: [event(1), event(2), event(3)] })
  })

  it('is readable by its owner only', async () => {
    const folder = await journalWith(1)
    expect((await stat(join(folder, 'journal'))).mode & 0o777).toBe(0o600)
  })

  it('drops a last record at whichever byte it was torn', async () => {
    const folder = await journalWith(2)
    const path = join(folder, 'journal')
    const whole = await readFile(path)
    const end = whole.lastIndexOf(0x0a, whole.length - 2) + 1
    for (let length = end; length < whole.length; length += 1) {
      await writeFile(path, whole.subarray(0, length))
      expect((await fileJournal(folder).read()).events).toEqual([event(1)])
    }
  })

  it('refuses damage in the middle, and names the file, the byte and the cure', async () => {
    const folder = await journalWith(3)
    const path = join(folder, 'journal')
    const whole = await readFile(path)
    const second = whole.indexOf(0x0a) + 1
    for (const offset of [second, second + 12, second + 30]) {
      const damaged = Buffer.from(whole)
      damaged[offset] = (damaged[offset] ?? 0) ^ 1
      await writeFile(path, damaged)
      await expect(fileJournal(folder).read()).rejects.toMatchObject({
        code: 'JOURNAL_DAMAGED',
        message: expect.stringMatching(
          new RegExp(`${path} at byte ${second}.*Move the named file away`),
        ) as unknown,
      })
    }
  })

  it('refuses a file that is something else', async () => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'journal'), 'first line\nsecond line\n')
    await expect(fileJournal(folder).read()).rejects.toMatchObject({ code: 'JOURNAL_DAMAGED' })
  })

  it('begins anew in one step: whoever reads sees the old one or the new one', async () => {
    const folder = await journalWith(2)
    const journal = fileJournal(folder)
    const later = { ...state, nextGeneration: 9 }
    await journal.begin(later)
    await journal.append(event(3))
    await journal.close()
    expect(await fileJournal(folder).read()).toEqual({ state: later, events: [event(3)] })
    expect(await readdir(folder)).toEqual(['journal'])
  })

  it('leaves an unfinished new journal out of account', async () => {
    const folder = await journalWith(1)
    await appendFile(join(folder, 'journal.next'), 'half of a new jour')
    expect((await fileJournal(folder).read()).events).toEqual([event(1)])
  })

  it('says why it cannot be written', async () => {
    const folder = await temporaryFolder()
    // A folder in the place of the file: also root cannot write to that.
    await mkdir(join(folder, 'journal.next'))
    await chmod(folder, 0o700)
    await expect(fileJournal(folder).begin(state)).rejects.toMatchObject({
      code: 'JOURNAL_UNWRITABLE',
      reason: 'EISDIR',
      message: expect.stringContaining(folder) as unknown,
    })
  })
})
