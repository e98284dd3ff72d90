import { chmod, chown, mkdir, readdir, readFile, stat, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { lockFolder } from '../../src/agent/folder-lock.ts'
import { encodeRecord } from '../../src/agent/journal-format.ts'
import { inspectJournal } from '../../src/agent/journal-inspection.ts'
import { compile, leafkeeper, type Ended } from '../support/command.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

beforeAll(compile, 120_000)

const isRoot = process.getuid?.() === 0
/** Root reads what nobody may read, unless it has given that up. */
const withoutPrivilege = isRoot ? ['setpriv', '--bounding-set', '-dac_override,-dac_read_search'] : []

/** A journal of gateway-7 that ends in a switch to generation 2. */
const whole = await readFile(join(import.meta.dirname, '../agent/journals/v2-switching.journal'))
const starts = [...whole.keys()].filter((at) => at === 0 || whole[at - 1] === 0x0a)
const start = (record: number): number => starts[record] ?? Number.NaN

function flipped(at: number): Buffer {
  const bytes = Buffer.from(whole)
  bytes[at] = (bytes[at] ?? 0) ^ 1
  return bytes
}

async function folderWith(bytes: Buffer): Promise<string> {
  const folder = await temporaryFolder()
  await writeFile(join(folder, 'journal'), bytes)
  return folder
}

const check = async (folder: string, ...more: string[]): Promise<Ended> =>
  leafkeeper(['journal', 'check', folder, ...more])
const repair = async (folder: string, ...more: string[]): Promise<Ended> =>
  leafkeeper(['journal', 'repair', folder, ...more])

/** The one line of JSON that was printed; nothing else was. */
function json({ stdout, stderr }: Ended): unknown {
  expect(stderr).toBe('')
  expect(stdout).toMatch(/^[^\n]+\n$/)
  return JSON.parse(stdout)
}

const contents = {
  device: 'gateway-7',
  schema: 2,
  records: starts.length,
  connection: 'connected',
  roll: 'switching',
  active: {
    generation: 1,
    certificate: expect.objectContaining({ commonName: 'gateway-7', thumbprint: 'T1' }) as unknown,
  },
  generations: [1, 2],
  lastAt: 1_000_000,
}
const error = (code: string, message: RegExp, retryable = false): object => ({
  error: { code, message: expect.stringMatching(message) as unknown, retryable },
})

type Row = [what: string, bytes: () => Buffer, exitCode: number, found: object]
const damaged = (
  byte: number,
  records: number | null,
  lostRecords: number,
  length = whole.length,
): object => ({
  condition: 'damaged',
  byte,
  contents: records === null ? null : (expect.objectContaining({ device: 'gateway-7', records }) as unknown),
  lostBytes: length - byte,
  lostRecords,
})
const last = starts.length - 1

/** Everything that can be found in the place of a journal. */
const rows: Row[] = [
  ['a whole journal', () => whole, 0, { condition: 'sound', contents, tornBytes: 0 }],
  [
    'one whose last record is torn',
    () => whole.subarray(0, -5),
    0,
    {
      condition: 'sound',
      contents: expect.objectContaining({ records: last }) as unknown,
      tornBytes: whole.length - 5 - start(last),
    },
  ],
  ['one with a flipped byte in the middle', () => flipped(start(5) + 40), 3, damaged(start(5), 5, last - 5)],
  ['one with a flipped byte in a line break', () => flipped(start(6) - 1), 3, damaged(start(5), 5, last - 5)],
  [
    'one with a flipped byte in a checksum',
    () => flipped(start(last - 1)),
    3,
    damaged(start(last - 1), last - 1, 1),
  ],
  ['one whose state at the beginning is damaged', () => flipped(99), 3, damaged(0, null, last)],
  [
    'one whose state at the beginning is missing',
    () => whole.subarray(start(1)),
    3,
    damaged(0, null, last, whole.length - start(1)),
  ],
  ['an empty file', () => Buffer.alloc(0), 3, damaged(0, null, 0, 0)],
  ['zeros', () => Buffer.alloc(5000), 3, damaged(0, null, 0, 5000)],
  ['something else', () => Buffer.from('first line\nsecond line\n'), 3, damaged(0, null, 0, 23)],
]

describe('leafkeeper journal check', () => {
  it.each(rows)('finds %s', async (_what, bytes, exitCode, found) => {
    const folder = await folderWith(bytes())
    const ended = await check(folder, '--json')
    expect(json(ended)).toEqual({ file: join(folder, 'journal'), ...found })
    expect(ended.exitCode).toBe(exitCode)
    // It changes nothing.
    expect(await readdir(folder)).toEqual(['journal'])
    expect(await readFile(join(folder, 'journal'))).toEqual(bytes())
  })

  it('says in words what a journal holds', async () => {
    const folder = await folderWith(whole.subarray(0, -5))
    const { stdout, stderr, exitCode } = await check(folder)
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 })
    const lines = stdout.split('\n')
    expect(lines[0]).toBe(`${join(folder, 'journal')} is sound.`)
    expect(lines).toEqual(
      expect.arrayContaining([
        '  device             gateway-7',
        '  schema version     2',
        `  records            ${last}`,
        expect.stringMatching(/^ {2}active generation {2}1, thumbprint T1, valid until /) as unknown,
        '  generations        1, 2',
        expect.stringMatching(/^Behind it stands a record .* \(\d+ bytes\); an agent drops it/) as unknown,
      ]),
    )
  })

  it('says in words where a journal is damaged, and what repairs it', async () => {
    const folder = await folderWith(flipped(start(5) + 40))
    const { stdout, stderr, exitCode } = await check(folder)
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 3 })
    expect(stdout).toContain(`${join(folder, 'journal')} is damaged at byte ${start(5)}: `)
    expect(stdout).toContain(`; among them ${last - 5} records that need the damaged one.\n`)
    expect(stdout).toContain('  records            5\n')
    expect(stdout.endsWith(`\nRun: leafkeeper journal repair ${folder}\n`)).toBe(true)
  })

  it('tells a folder without a journal from none', async () => {
    const folder = await temporaryFolder()
    const empty = await check(folder, '--json')
    expect(json(empty)).toEqual({ condition: 'absent', file: join(folder, 'journal') })
    expect(empty.exitCode).toBe(0)
    expect((await check(folder)).stdout).toContain(`There is no journal in ${folder}: an agent that starts`)
  })

  it('looks while an agent is at work', async () => {
    const folder = await folderWith(whole)
    onTestFinished(await lockFolder(folder, 'the agent of gateway-7'))
    expect((await check(folder)).exitCode).toBe(0)
  })
})

describe('leafkeeper journal repair', () => {
  it.each(rows)(
    'leaves a journal that an agent starts with, of %s',
    async (_what, bytes, exitCode, found) => {
      const folder = await folderWith(bytes())
      const path = join(folder, 'journal')
      const isDamaged = exitCode !== 0
      const kept = `${path}.damaged-1`
      const ended = await repair(folder, '--json')
      expect(json(ended)).toEqual({
        repaired: isDamaged,
        keptAs: isDamaged ? kept : null,
        found: { file: path, ...found },
      })
      expect(ended.exitCode).toBe(0)
      const { byte = 0, contents: before } = found as { byte?: number; contents: unknown }
      const names = isDamaged ? [...(before === null ? [] : ['journal']), 'journal.damaged-1'] : ['journal']
      expect(await readdir(folder)).toEqual(names)
      expect(await readFile(isDamaged ? kept : path)).toEqual(bytes())
      if (isDamaged && before !== null) expect(await readFile(path)).toEqual(bytes().subarray(0, byte))

      const after = await inspectJournal(folder)
      expect(after.condition).toBe(isDamaged && before === null ? 'absent' : 'sound')
      if (after.condition === 'sound') expect(after.contents).toEqual(before)
    },
  )

  it('says in words what was lost, where it is kept, and what the agent does', async () => {
    const folder = await folderWith(flipped(start(5) + 40))
    const { stdout, stderr, exitCode } = await repair(folder)
    expect({ stderr, exitCode }).toEqual({ stderr: '', exitCode: 0 })
    expect(stdout).toContain(`${folder}/journal was damaged at byte ${start(5)}: from there on `)
    expect(stdout).toContain(`kept as ${folder}/journal.damaged-1.`)
    expect(stdout).toContain('  records            5\n')
    expect(stdout).toMatch(/next start the agent compares it with the token/)
    expect((await repair(folder)).stdout).toBe(`Nothing to repair: ${folder}/journal is sound.\n`)

    const hopeless = await folderWith(flipped(99))
    expect((await repair(hopeless)).stdout).toMatch(
      /there is no journal now\. At its next start the agent finds its\s+identity on the token and asks DPS/,
    )
    expect((await repair(hopeless)).stdout).toBe(`Nothing to repair: ${hopeless}/journal does not exist.\n`)
  })

  it('never takes a name that something has', async () => {
    const folder = await folderWith(flipped(start(5) + 40))
    const path = join(folder, 'journal')
    await writeFile(`${path}.damaged-1`, 'an older one')
    await mkdir(`${path}.damaged-2`)
    await writeFile(`${path}.next`, 'what a crash has left')
    expect(json(await repair(folder, '--json'))).toMatchObject({ keptAs: `${path}.damaged-3` })
    expect(await readFile(`${path}.damaged-1`, 'utf8')).toBe('an older one')
    expect(await readFile(`${path}.next`, 'utf8')).toBe('what a crash has left')
    expect(await readFile(`${path}.damaged-3`)).toEqual(flipped(start(5) + 40))
  })

  it.each([
    ['damaged', () => flipped(start(5) + 40)],
    ['sound', () => whole],
  ])('refuses a %s journal while an agent has its folder, and says who', async (_condition, bytes) => {
    const folder = await folderWith(bytes())
    const release = await lockFolder(folder, 'the agent of gateway-7')
    const names = await readdir(folder)
    const inWords = await repair(folder)
    expect(inWords).toEqual({
      exitCode: 4,
      stdout: '',
      stderr: expect.stringMatching(
        `^leafkeeper: Expected to have ${folder} alone; it is held by the agent of gateway-7: process ${process.pid} on`,
      ) as unknown,
    })
    const asData = await repair(folder, '--json')
    expect(json(asData)).toEqual(error('STATE_FOLDER_IN_USE', /the agent of gateway-7/))
    expect(asData.exitCode).toBe(4)
    expect(await readdir(folder)).toEqual(names)
    expect(await readFile(join(folder, 'journal'))).toEqual(bytes())
    await release()
    expect((await repair(folder)).exitCode).toBe(0)
    expect((await readdir(folder)).filter((name) => name.startsWith('lock'))).toEqual([])
  })

  it.skipIf(!isRoot)('by root leaves a journal to the user that it belonged to', async () => {
    const folder = await folderWith(flipped(start(5) + 40))
    const path = join(folder, 'journal')
    await chown(path, 1234, 4321)
    expect((await repair(folder)).exitCode).toBe(0)
    for (const name of [path, `${path}.damaged-1`])
      expect(await stat(name)).toMatchObject({ uid: 1234, gid: 4321 })
  })
})

describe('both commands', () => {
  const refusals: [
    why: string,
    prepare: (folder: string) => Promise<unknown>,
    options: string[],
    exitCode: number,
    error: object,
  ][] = [
    [
      'a folder that is not there',
      () => Promise.resolve(),
      ['/no/such'],
      6,
      error('JOURNAL_UNREADABLE', /state folder of an agent at .*no\/such, got: ENOENT/),
    ],
    [
      'a file in place of a folder',
      (folder) => writeFile(join(folder, 'file'), ''),
      ['/file'],
      6,
      error('JOURNAL_UNREADABLE', /ENOTDIR/),
    ],
    [
      'a folder in place of a journal',
      (folder) => mkdir(join(folder, 'journal')),
      [''],
      6,
      error('JOURNAL_UNREADABLE', /EISDIR/),
    ],
    [
      'a journal that may not be read',
      async (folder) => {
        await writeFile(join(folder, 'journal'), whole)
        await chmod(join(folder, 'journal'), 0)
      },
      [''],
      6,
      error('JOURNAL_UNREADABLE', /EACCES.*folder that this user can read and write/),
    ],
    [
      'a journal of a newer version',
      (folder) => writeFile(join(folder, 'journal'), encodeRecord({ schema: 3, state: {} })),
      [''],
      5,
      error('JOURNAL_UNKNOWN_VERSION', /version 2 or older .* found version 3.*Install that version again/),
    ],
    [
      'a damaged journal of a newer version',
      (folder) =>
        writeFile(
          join(folder, 'journal'),
          Buffer.concat([encodeRecord({ schema: 3, state: {} }), flipped(99)]),
        ),
      [''],
      5,
      error('JOURNAL_UNKNOWN_VERSION', /version 3/),
    ],
    [
      'a journal of another device than was named',
      (folder) => writeFile(join(folder, 'journal'), flipped(start(5) + 40)),
      ['', '--device', 'gateway-8'],
      5,
      error('JOURNAL_OTHER_DEVICE', /Expected the journal of gateway-8, found that of gateway-7/),
    ],
  ]

  it.each(refusals)(
    'refuse %s, and change nothing',
    async (_why, prepare, [below = '', ...options], exitCode, refusal) => {
      const folder = await temporaryFolder()
      await prepare(folder)
      const names = await readdir(folder)
      const args = [`${folder}${below}`, ...options]
      const [check, repair, inWords] = await Promise.all(
        [['check', '--json'], ['repair', '--json'], ['repair']].map((command) =>
          leafkeeper(['journal', ...command, ...args], withoutPrivilege),
        ),
      )
      for (const ended of [check, repair]) expect(ended && json(ended)).toEqual(refusal)
      expect(inWords).toMatchObject({
        stdout: '',
        stderr: expect.stringMatching(/^leafkeeper: Expected .*\n$/) as unknown,
      })
      for (const ended of [check, repair, inWords]) expect(ended?.exitCode).toBe(exitCode)
      expect(await readdir(folder)).toEqual(names)
    },
  )

  it('take the journal of the device that was named', async () => {
    const folder = await folderWith(flipped(start(5) + 40))
    expect((await check(folder, '--device', 'gateway-7')).exitCode).toBe(3)
    expect((await repair(folder, '--device', 'gateway-7')).exitCode).toBe(0)
  })

  it('read journals of every older version', async () => {
    const old = await readFile(join(import.meta.dirname, '../agent/journals/v1-switching.journal'))
    expect(json(await check(await folderWith(old), '--json'))).toMatchObject({
      condition: 'sound',
      contents: { device: 'gateway-7', schema: 1, roll: 'switching', generations: [1, 2] },
    })
  })
})

describe('the command line', () => {
  it.each<[args: string[], exitCode: number, stream: 'stdout' | 'stderr', text: RegExp]>([
    [
      ['--help'],
      0,
      'stdout',
      /Usage: leafkeeper .*Exit codes:\n {2}0 {2}done.*\n {2}3 {2}the journal is damaged/s,
    ],
    [
      ['journal', 'check', '--help'],
      0,
      'stdout',
      /Usage: leafkeeper journal check \[options\] <folder>.*Exit codes:/s,
    ],
    [['--version'], 0, 'stdout', /^\d+\.\d+\.\d+\S*\n$/],
    [[], 2, 'stderr', /Usage: leafkeeper/],
    [['journal'], 2, 'stderr', /Usage: leafkeeper journal/],
    [['journal', 'check'], 2, 'stderr', /missing required argument 'folder'/],
    [['journal', 'check', 'one', 'two'], 2, 'stderr', /too many arguments/],
    [['journal', 'repair', '--force', 'folder'], 2, 'stderr', /unknown option '--force'/],
    [['journal', 'mend', 'folder'], 2, 'stderr', /unknown command 'mend'/],
    [['diary'], 2, 'stderr', /unknown command 'diary'/],
  ])('%j ends with %i', async (args, exitCode, stream, text) => {
    const ended = await leafkeeper(args)
    expect(ended.exitCode).toBe(exitCode)
    expect(ended[stream]).toMatch(text)
    expect(ended[stream === 'stdout' ? 'stderr' : 'stdout']).toBe('')
  })
})
