import { systemDisk, type JournalDisk, type JournalFile } from '../../src/agent/journal-disk.ts'

/** What a disk is asked to do, in order. */
export type DiskOperation = keyof JournalDisk | keyof JournalFile

/** The disks of this machine, that fail where a test wants them to. */
export interface FaultyDisk extends JournalDisk {
  /** Every operation since the last {@link fail}. */
  readonly done: DiskOperation[]
  /** The operation with this number, from 0, and all that follow fail with this error; closing always works. */
  fail(from: number, code: string, options?: { readonly reading?: boolean }): void
  heal(): void
}

export function faultyDisk(): FaultyDisk {
  const done: DiskOperation[] = []
  let from = Infinity
  let code = ''
  let reading = false
  async function run<Result>(operation: DiskOperation, work: () => Promise<Result>): Promise<Result> {
    done.push(operation)
    const spared = operation === 'close' || (operation === 'read' && !reading)
    if (done.length > from && !spared) throw Object.assign(new Error(`${code}: told to fail`), { code })
    return work()
  }
  return {
    done,
    fail(number, name, options = {}) {
      done.length = 0
      from = number
      code = name
      reading = options.reading ?? false
    },
    heal() {
      from = Infinity
    },
    read: (path) => run('read', () => systemDisk.read(path)),
    makeFolder: (path) => run('makeFolder', () => systemDisk.makeFolder(path)),
    rename: (one, other) => run('rename', () => systemDisk.rename(one, other)),
    link: (path, name) => run('link', () => systemDisk.link(path, name)),
    unlink: (path) => run('unlink', () => systemDisk.unlink(path)),
    giveOwner: (path, model) => run('giveOwner', () => systemDisk.giveOwner(path, model)),
    syncFolder: (path) => run('syncFolder', () => systemDisk.syncFolder(path)),
    create: async (path) => {
      const file = await run('create', () => systemDisk.create(path))
      return {
        // In parts, as a disk may take them.
        write: (bytes, position) => run('write', () => file.write(bytes.subarray(0, 300), position)),
        sync: () => run('sync', () => file.sync()),
        truncate: (length) => run('truncate', () => file.truncate(length)),
        close: () => run('close', () => file.close()),
      }
    },
  }
}
