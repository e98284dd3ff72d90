import {
  appendFile,
  chmod,
  mkdir,
  open,
  readdir,
  readFile,
  stat,
  writeFile,
  type FileHandle,
} from 'node:fs/promises'
import { writeSync } from 'node:fs'
import { join } from 'node:path'
import { crc32 } from 'node:zlib'
import { describe, expect, it, onTestFinished, vi } from 'vitest'
import { fileJournal } from '../../src/agent/journal.ts'
import { initialState } from '../../src/agent/machine.ts'
import type { AgentEvent } from '../../src/agent/events.ts'
import { dpsPolicy } from '../support/machine.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const state = initialState(dpsPolicy, 'gateway-7')
const event = (at: number): AgentEvent => ({ kind: 'woken', at, entropy: 0.5 })

/** Some file handle, for the sake of its prototype. */
async function openHandle(): Promise<FileHandle> {
  const handle = await open(import.meta.filename)
  onTestFinished(() => handle.close())
  return handle
}

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

  it('cuts off what a failed write has left before it writes again', async () => {
    const folder = await journalWith(1)
    const journal = fileJournal(folder)
    await journal.begin(state)
    // The disk takes half of a record and then no more.
    const write = vi.spyOn(Object.getPrototypeOf(await openHandle()) as FileHandle, 'write')
    write.mockImplementationOnce(function (this: FileHandle, ...[bytes, , , position]: unknown[]) {
      writeSync(this.fd, bytes as Buffer, 0, 40, position as number)
      throw Object.assign(new Error('ENOSPC: no space left on device'), { code: 'ENOSPC' })
    })
    await expect(journal.append(event(1))).rejects.toMatchObject({
      code: 'JOURNAL_UNWRITABLE',
      reason: 'ENOSPC',
    })
    write.mockRestore()
    await journal.append(event(2))
    await journal.close()
    expect((await fileJournal(folder).read()).events).toEqual([event(2)])
  })

  it('keeps to the new file when only the flush of its folder fails', async () => {
    const folder = await journalWith(1)
    const journal = fileJournal(folder)
    await journal.begin(state)
    const sync = vi.spyOn(Object.getPrototypeOf(await openHandle()) as FileHandle, 'sync')
    sync
      .mockResolvedValueOnce(undefined)
      .mockRejectedValueOnce(Object.assign(new Error('EIO'), { code: 'EIO' }))
    await expect(journal.begin(state)).rejects.toMatchObject({ code: 'JOURNAL_UNWRITABLE' })
    sync.mockRestore()
    await journal.append(event(7))
    await journal.close()
    expect((await fileJournal(folder).read()).events).toEqual([event(7)])
  })

  it('does not guess at a journal of another version', async () => {
    const folder = await journalWith(1)
    const path = join(folder, 'journal')
    const json = JSON.stringify({ schema: 2, state: {} })
    const header = [crc32(json), json.length].map((n) => n.toString(16).padStart(8, '0')).join(' ')
    await writeFile(path, `${header} ${json}\n`)
    await expect(fileJournal(folder).read()).rejects.toMatchObject({
      code: 'JOURNAL_UNKNOWN_VERSION',
      message: expect.stringMatching(/version 1 .* version 2/) as unknown,
    })
  })

  it('says why it cannot be read', async () => {
    const folder = await temporaryFolder()
    await mkdir(join(folder, 'journal'))
    await expect(fileJournal(folder).read()).rejects.toMatchObject({
      code: 'JOURNAL_UNREADABLE',
      reason: 'EISDIR',
    })
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
