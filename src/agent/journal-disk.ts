import { constants } from 'node:fs'
import { chown, link, mkdir, open, readFile, rename, stat, unlink } from 'node:fs/promises'
import { dirname, resolve } from 'node:path'

/** The file operations of a journal, each on its own, so that a disk may fail at any of them. */
export interface JournalDisk {
  /** The bytes of a file; `null` where there is none. */
  read(path: string): Promise<Buffer | null>
  /** Makes a folder that only its owner can enter, and those above it; it is there after a loss of power. */
  makeFolder(path: string): Promise<void>
  /** Opens an empty file for writing, that only its owner can read. */
  create(path: string): Promise<JournalFile>
  rename(from: string, to: string): Promise<void>
  /** Gives a file a second name; fails with `EEXIST` where something has it. */
  link(path: string, name: string): Promise<void>
  /** Takes a name from a file, which stays under its other ones. */
  unlink(path: string): Promise<void>
  /** Makes a file belong to whom another one belongs. */
  giveOwner(path: string, model: string): Promise<void>
  /** A file that was made or renamed is only safe when its folder has been flushed as well. */
  syncFolder(path: string): Promise<void>
}

/** A file that is being written. */
export interface JournalFile {
  /** Writes some of the bytes, and says how many: a disk may take them in parts. */
  write(bytes: Buffer, position: number): Promise<number>
  /** Resolves when the disk holds everything that was written. */
  sync(): Promise<void>
  truncate(length: number): Promise<void>
  close(): Promise<void>
}

/** The disks of this machine. */
export const systemDisk: JournalDisk = {
  async read(path) {
    try {
      return await readFile(path)
    } catch (error) {
      if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return null
      throw error
    }
  },
  async makeFolder(path) {
    const first = await mkdir(path, { recursive: true, mode: 0o700 })
    if (first === undefined) return
    for (let made = resolve(path); made.length >= resolve(first).length; made = dirname(made))
      await systemDisk.syncFolder(dirname(made))
  },
  async create(path) {
    const handle = await open(path, constants.O_CREAT | constants.O_TRUNC | constants.O_WRONLY, 0o600)
    return {
      write: async (bytes, position) => (await handle.write(bytes, 0, bytes.length, position)).bytesWritten,
      sync: () => handle.datasync(),
      truncate: (length) => handle.truncate(length),
      close: () => handle.close(),
    }
  },
  rename: (from, to) => rename(from, to),
  link: (path, name) => link(path, name),
  unlink: (path) => unlink(path),
  async giveOwner(path, model) {
    const [has, wanted] = await Promise.all([stat(path), stat(model)])
    // Only root may give a file away; who owns both has nothing to give.
    if (has.uid !== wanted.uid || has.gid !== wanted.gid) await chown(path, wanted.uid, wanted.gid)
  },
  async syncFolder(path) {
    const handle = await open(path, constants.O_RDONLY)
    try {
      await handle.sync()
    } finally {
      await handle.close()
    }
  },
}
