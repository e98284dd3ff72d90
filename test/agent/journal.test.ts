import { chmod, mkdir, readdir, readFile, stat, appendFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect, it } from 'vitest'
import type { AgentEvent } from '../../src/agent/events.ts'
import type { JournalDisk } from '../../src/agent/journal-disk.ts'
import { encodeRecord } from '../../src/agent/journal-format.ts'
import { contentsOf, fileJournal, type Journal } from '../../src/agent/journal.ts'
import { initialState } from '../../src/agent/machine.ts'
import { faultyDisk } from '../support/faulty-disk.ts'
import { dpsPolicy } from '../support/machine.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const state = initialState(dpsPolicy, 'gateway-7')
const event = (at: number): AgentEvent => ({ kind: 'woken', at, entropy: 0.5 })
const nobodyElse = (): Promise<() => Promise<void>> => Promise.resolve(() => Promise.resolve())

function journalIn(folder: string, disk?: JournalDisk): Journal {
  return fileJournal(folder, { lock: nobodyElse, ...(disk === undefined ? {} : { disk }) })
}

async function journalWith(events: number): Promise<string> {
  const folder = await temporaryFolder()
  const journal = journalIn(folder)
  await journal.begin(state)
  for (let at = 1; at <= events; at += 1) await journal.append(event(at), { lastAt: at })
  await journal.close()
  return folder
}

describe('the journal', () => {
  it('is empty where there is none', async () => {
    const journal = journalIn(join(await temporaryFolder(), 'not', 'there'))
    expect(await journal.read()).toEqual({ state: null, events: [], tornBytes: 0 })
  })

  it('gives back the state it began with, as the events since have changed it', async () => {
    const folder = await journalWith(3)
    expect(await journalIn(folder).read()).toEqual({
      state: { ...state, lastAt: 3 },
      events: [event(1), event(2), event(3)],
      tornBytes: 0,
    })
  })

  it('is readable by its owner only, and so is its folder', async () => {
    const folder = join(await temporaryFolder(), 'deep', 'down')
    const journal = journalIn(folder)
    await journal.begin(state)
    await journal.close()
    expect((await stat(join(folder, 'journal'))).mode & 0o777).toBe(0o600)
    expect((await stat(folder)).mode & 0o777).toBe(0o700)
  })

  it('begins anew in one step: whoever reads sees the old one or the new one', async () => {
    const folder = await journalWith(2)
    const journal = journalIn(folder)
    const later = { ...state, nextGeneration: 9 }
    await journal.begin(later)
    await journal.append(event(3), { lastAt: 3 })
    await journal.close()
    expect(await journalIn(folder).read()).toMatchObject({
      state: { ...later, lastAt: 3 },
      events: [event(3)],
    })
    expect(await readdir(folder)).toEqual(['journal'])
  })

  it('leaves an unfinished new journal out of account', async () => {
    const folder = await journalWith(1)
    await appendFile(join(folder, 'journal.next'), 'half of a new jour')
    expect((await journalIn(folder).read()).events).toEqual([event(1)])
  })

  it('says why it cannot be read', async () => {
    const folder = await temporaryFolder()
    await mkdir(join(folder, 'journal'))
    await expect(journalIn(folder).read()).rejects.toMatchObject({
      code: 'JOURNAL_UNREADABLE',
      reason: 'EISDIR',
    })
  })

  it('says why it cannot be written', async () => {
    const folder = await temporaryFolder()
    // A folder in the place of the file: also root cannot write to that.
    await mkdir(join(folder, 'journal.next'))
    await chmod(folder, 0o700)
    await expect(journalIn(folder).begin(state)).rejects.toMatchObject({
      code: 'JOURNAL_UNWRITABLE',
      reason: 'EISDIR',
      message: expect.stringContaining(folder) as unknown,
    })
  })

  it('does not guess at a journal of a newer version, and says what to do', async () => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'journal'), encodeRecord({ schema: 3, state: {} }))
    await expect(journalIn(folder).read()).rejects.toMatchObject({
      code: 'JOURNAL_UNKNOWN_VERSION',
      message: expect.stringMatching(
        /version 2 or older .* version 3.*Install that version again/,
      ) as unknown,
    })
  })
})

describe('a journal that was cut off', () => {
  it('at whichever byte of its last record goes on without that record', async () => {
    const whole = await readFile(join(await journalWith(2), 'journal'))
    const last = whole.lastIndexOf(0x0a, whole.length - 2) + 1
    for (let length = last; length < whole.length; length += 1)
      expect(contentsOf('journal', whole.subarray(0, length))).toEqual({
        state: { ...state, lastAt: 1 },
        events: [event(1)],
        tornBytes: length - last,
      })
  })

  it('at a record whose blocks were lost goes on without that record', async () => {
    const whole = await readFile(join(await journalWith(2), 'journal'))
    const last = whole.lastIndexOf(0x0a, whole.length - 2) + 1
    // The length of a file may reach the disk before what is in it.
    const zeros = Buffer.concat([whole.subarray(0, last), Buffer.alloc(400)])
    expect(contentsOf('journal', zeros)).toMatchObject({ events: [event(1)], tornBytes: 400 })
  })

  it('loses the torn record for good when it is begun again', async () => {
    const folder = await journalWith(2)
    const path = join(folder, 'journal')
    await writeFile(path, (await readFile(path)).subarray(0, -3))
    const journal = journalIn(folder)
    const { state: restored } = await journal.read()
    await journal.begin(restored ?? state)
    await journal.append(event(9), { lastAt: 9 })
    await journal.close()
    expect(await journalIn(folder).read()).toMatchObject({ events: [event(9)], tornBytes: 0 })
  })

  it('in its first record is refused, since that was on disk before the journal had a name', async () => {
    const whole = await readFile(join(await journalWith(0), 'journal'))
    for (const length of [0, 1, 20, whole.length - 1])
      expect(() => contentsOf('journal', whole.subarray(0, length))).toThrow(
        expect.objectContaining({ code: 'JOURNAL_DAMAGED' }),
      )
  })
})

describe('a journal that was changed', () => {
  it('at any byte before its last record is refused there', async () => {
    const whole = await readFile(join(await journalWith(3), 'journal'))
    const starts = [0]
    for (let at = whole.indexOf(0x0a); at !== whole.length - 1; at = whole.indexOf(0x0a, at + 1))
      starts.push(at + 1)
    const last = starts.at(-1) ?? 0
    expect(starts).toHaveLength(4)
    for (let offset = 0; offset < last; offset += 1) {
      const start = starts.findLast((each) => each <= offset) ?? 0
      for (const changed of [(whole[offset] ?? 0) ^ 1, 0x0a]) {
        if (changed === whole[offset]) continue
        const damaged = Buffer.from(whole)
        damaged[offset] = changed
        expect(() => contentsOf('/state/journal', damaged), `byte ${offset}`).toThrow(
          expect.objectContaining({
            code: 'JOURNAL_DAMAGED',
            message: expect.stringContaining(`/state/journal at byte ${start},`) as unknown,
          }),
        )
      }
    }
  })

  it('at any byte of its last record never gives anything that was not written', async () => {
    const whole = await readFile(join(await journalWith(2), 'journal'))
    const last = whole.lastIndexOf(0x0a, whole.length - 2) + 1
    for (let offset = last; offset < whole.length; offset += 1) {
      const damaged = Buffer.from(whole)
      damaged[offset] = (damaged[offset] ?? 0) ^ 1
      expect(contentsOf('journal', damaged).events, `byte ${offset}`).toEqual([event(1)])
    }
  })

  it('by a record that is missing or twice is read as what the rest says', async () => {
    // Nothing in a journal refers to the record before: only whole lines can vanish unseen, and a start mends that.
    const whole = await readFile(join(await journalWith(2), 'journal'))
    const second = whole.indexOf(0x0a) + 1
    const third = whole.indexOf(0x0a, second) + 1
    const without = Buffer.concat([whole.subarray(0, second), whole.subarray(third)])
    expect(contentsOf('journal', without).state).toMatchObject({ lastAt: 2 })
  })

  it('into something else is refused', async () => {
    const folder = await temporaryFolder()
    await writeFile(join(folder, 'journal'), 'first line\nsecond line\n')
    await expect(journalIn(folder).read()).rejects.toMatchObject({ code: 'JOURNAL_DAMAGED' })
    await writeFile(join(folder, 'journal'), encodeRecord({ schema: 2, event: event(1) }))
    await expect(journalIn(folder).read()).rejects.toMatchObject({ code: 'JOURNAL_DAMAGED' })
  })

  it('is refused with the command that repairs it, as a shell takes it', () => {
    const message = (path: string): string => {
      try {
        contentsOf(path, Buffer.from('?'))
        return ''
      } catch (error) {
        return String(error)
      }
    }
    expect(message('/var/lib/leafkeeper/journal')).toContain('leafkeeper journal repair /var/lib/leafkeeper.')
    expect(message("/it's here/journal")).toContain(`leafkeeper journal repair '/it'\\''s here'.`)
  })
})

describe('a disk that fails', () => {
  const codes = ['ENOSPC', 'EDQUOT', 'EROFS', 'EIO'] as const
  const later = { ...state, nextGeneration: 9 }

  it('is asked for these operations, so that each can be made to fail', async () => {
    const disk = faultyDisk()
    const journal = journalIn(await temporaryFolder(), disk)
    disk.fail(Infinity, 'EIO')
    await journal.begin(state)
    expect(disk.done.join(' ')).toMatch(/^makeFolder create write( write)+ sync rename syncFolder$/)
    disk.fail(Infinity, 'EIO')
    await journal.append(event(1), { lastAt: 1 })
    expect(disk.done.join(' ')).toBe('write sync')
    await journal.close()
  })

  it.each(codes)(
    'with %s at any operation of a beginning leaves the old journal or the new one',
    async (code) => {
      for (let number = 0; ; number += 1) {
        const disk = faultyDisk()
        const folder = await journalWith(1)
        const journal = journalIn(folder, disk)
        await journal.read()
        disk.fail(number, code)
        const failure: unknown = await journal.begin(later).catch((error: unknown) => error)
        const last = disk.done.at(-1)
        if (failure === undefined) return expect(number).toBe(disk.done.length)
        expect(failure).toMatchObject({ code: 'JOURNAL_UNWRITABLE', reason: code, retryable: true })

        const { state: kept } = contentsOf('journal', await readFile(join(folder, 'journal')))
        expect(kept).toEqual(last === 'syncFolder' ? later : { ...state, lastAt: 1 })

        // The disk is as before; what is written now is what a restart finds.
        disk.heal()
        await journal.begin(later)
        await journal.append(event(2), { lastAt: 2 })
        await journal.close()
        expect((await journalIn(folder).read()).state).toEqual({ ...later, lastAt: 2 })
      }
    },
  )

  it.each(codes)('with %s at any operation of a record loses no other record', async (code) => {
    for (let number = 0; ; number += 1) {
      const disk = faultyDisk()
      const folder = await temporaryFolder()
      const journal = journalIn(folder, disk)
      await journal.begin(state)
      await journal.append(event(1), { lastAt: 1 })
      disk.fail(number, code)
      const large = {
        ...event(2),
        kind: 'certificateIssued',
        chain: 'x'.repeat(900),
      } as unknown as AgentEvent
      const failure: unknown = await journal.append(large, { lastAt: 2 }).catch((error: unknown) => error)
      if (failure === undefined) return expect(number).toBe(disk.done.length)
      expect(failure).toMatchObject({ code: 'JOURNAL_UNWRITABLE', reason: code })
      const { events } = contentsOf('journal', await readFile(join(folder, 'journal')))
      expect(events[0]).toEqual(event(1))

      // What the failed write has left is cut off before the next one.
      disk.heal()
      await journal.append(event(3), { lastAt: 3 })
      await journal.close()
      expect((await journalIn(folder).read()).events).toEqual([event(1), event(3)])
    }
  })

  it('after it has let the new journal take its name makes that safe before the next record', async () => {
    const disk = faultyDisk()
    const folder = await journalWith(1)
    const journal = journalIn(folder, disk)
    await journal.begin(state)
    disk.fail(Infinity, 'EIO')
    await journal.begin(state)
    disk.fail(disk.done.indexOf('syncFolder'), 'EIO')
    await expect(journal.begin(later)).rejects.toMatchObject({ reason: 'EIO' })
    expect(disk.done.at(-1)).toBe('syncFolder')
    // As long as a loss of power could bring the old journal back, nothing may be written that only the new one has.
    await expect(journal.append(event(1), { lastAt: 1 })).rejects.toMatchObject({ reason: 'EIO' })
    disk.heal()
    await journal.append(event(2), { lastAt: 2 })
    expect(disk.done.slice(-3)).toEqual(['syncFolder', 'write', 'sync'])
    await journal.close()
  })

  it('while it is read says so', async () => {
    const disk = faultyDisk()
    disk.fail(0, 'EIO', { reading: true })
    await expect(journalIn(await journalWith(1), disk).read()).rejects.toMatchObject({
      code: 'JOURNAL_UNREADABLE',
      reason: 'EIO',
    })
  })
})
