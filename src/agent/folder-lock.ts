import { randomBytes } from 'node:crypto'
import { open, readdir, rename, rm, type FileHandle } from 'node:fs/promises'
import { createServer, type Server, type Socket } from 'node:net'
import { hostname } from 'node:os'
import { join } from 'node:path'
import { LeafkeeperError } from '../errors.ts'
import { writable } from './journal-errors.ts'
import { askRival, type LockAnswer } from './lock-rival.ts'

/** Sockets under names of their own: a name is never used twice, so that removing a dead one never hits a live one. */
const published = /^lock-[0-9a-f]{16}$/
const unpublished = /^\.lock-[0-9a-f]{16}$/

/** A slow token stops a process for seconds. */
const defaultPatienceMs = 10_000

/** The longest path of a Unix socket on Linux, in bytes, is 107 (`sun_path`). */
const longestSocketPath = 107

/**
 * Keeps a second agent out of a state folder, until it is released or the process ends, however it ends.
 *
 * The lock is a Unix socket in the folder that its holder listens on. The kernel closes it with the process, so that
 * no record of one outlives it: not `kill -9`, not a reboot. Whether a holder lives is asked by connecting to it, not
 * by its process id, which another process may have by now, and which means nothing in another container. A socket in
 * a folder is reached from every container that shares the folder; one machine's agents do not see those of another,
 * so a state folder must not be shared over a network.
 *
 * Who wants the lock first listens, as a candidate, and only then looks for others; of two candidates, at least one
 * sees the other. It gives way to a holder and to a candidate whose name comes first, and waits for what becomes of
 * other candidates. So of agents that start at the same moment exactly one gets the lock.
 *
 * @param who is what others are told, such as `the agent of gateway-7`
 * @param patienceMs how long a process may be too busy to say who it is, in milliseconds
 * @returns what releases the lock
 * @throws LeafkeeperError `STATE_FOLDER_IN_USE` with who holds it; `JOURNAL_UNWRITABLE` where no socket can be made
 */
export async function lockFolder(
  folder: string,
  who: string,
  patienceMs = defaultPatienceMs,
): Promise<() => Promise<void>> {
  const handle = await writable(folder, () => open(folder))
  try {
    for (;;) {
      const contender = new Contender(folder, socketFolder(folder, handle), who, patienceMs)
      const outcome = await contender.contend()
      if (outcome === 'won') return () => contender.release()
    }
  } finally {
    await handle.close()
  }
}

/** The folder, by a path that leaves room for the name of a socket. */
function socketFolder(folder: string, { fd }: FileHandle): string {
  const longest = join(folder, `.lock-${'0'.repeat(16)}`)
  return Buffer.byteLength(longest) <= longestSocketPath ? folder : `/proc/self/fd/${fd}`
}

class Contender {
  readonly #folder: string
  /** Where sockets are bound and reached; for files, either will do. */
  readonly #socketFolder: string
  readonly #patienceMs: number
  readonly #name = `lock-${randomBytes(8).toString('hex')}`
  readonly #answer: Omit<LockAnswer, 'standing'>
  readonly #rivals = new Set<Socket>()
  readonly #server: Server
  #standing: LockAnswer['standing'] = 'candidate'

  constructor(folder: string, socketFolder: string, who: string, patienceMs: number) {
    this.#folder = folder
    this.#patienceMs = patienceMs
    this.#socketFolder = socketFolder
    this.#answer = { who, pid: process.pid, host: hostname(), since: new Date().toISOString() }
    this.#server = createServer((rival) => {
      this.#rivals.add(rival)
      rival.unref()
      rival.on('error', () => undefined).on('close', () => this.#rivals.delete(rival))
      this.#tell(rival)
    })
  }

  /** `again` where the socket has vanished before it could be seen. */
  async contend(): Promise<'won' | 'again'> {
    try {
      if (!(await this.#publish())) return 'again'
      const others = (await readdir(this.#folder)).filter(
        (name) => published.test(name) && name !== this.#name,
      )
      for (const name of others) {
        const isAhead = (standing: LockAnswer['standing']): boolean =>
          standing === 'holder' || name < this.#name
        const rival = await askRival(join(this.#socketFolder, name), isAhead, this.#patienceMs)
        if (rival === 'dead') await rm(join(this.#folder, name), { force: true })
        else if (rival !== 'withdrawn') throw this.#inUse(name, rival)
      }
    } catch (error) {
      await this.release()
      throw error
    }
    this.#standing = 'holder'
    for (const rival of this.#rivals) this.#tell(rival)
    await this.#sweep()
    return 'won'
  }

  async release(): Promise<void> {
    for (const rival of this.#rivals) rival.destroy()
    await new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const name of [this.#name, `.${this.#name}`]) await rm(join(this.#folder, name), { force: true })
  }

  /** The socket takes its name when it listens: what others find under such a name is alive, or dead for good. */
  async #publish(): Promise<boolean> {
    const path = join(this.#socketFolder, `.${this.#name}`)
    await writable(`${this.#folder}, as a folder that can hold a Unix socket`, async () => {
      await new Promise<void>((resolve, reject) => {
        // Exclusive: a worker of a cluster would otherwise leave its socket to the primary process.
        this.#server.once('error', reject).listen({ path, exclusive: true }, resolve)
      })
    })
    this.#server.unref()
    try {
      await rename(join(this.#folder, `.${this.#name}`), join(this.#folder, this.#name))
      return true
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'ENOENT')) throw error
      await this.release()
      return false
    }
  }

  #tell(rival: Socket): void {
    const answer: LockAnswer = { ...this.#answer, standing: this.#standing }
    rival.write(`${JSON.stringify(answer)}\n`)
  }

  /** What a process left that ended before its socket took its name. One that is about to comes too late anyway. */
  async #sweep(): Promise<void> {
    const names = await readdir(this.#folder)
    for (const name of names.filter((each) => unpublished.test(each)))
      await rm(join(this.#folder, name), { force: true })
  }

  #inUse(name: string, rival: LockAnswer | 'silent'): LeafkeeperError {
    const holder =
      rival === 'silent'
        ? `a process that does not answer at ${join(this.#folder, name)}`
        : `${rival.who}: process ${rival.pid} on ${rival.host}, since ${rival.since}`
    return new LeafkeeperError('STATE_FOLDER_IN_USE', {
      message: `Expected to have ${this.#folder} alone; it is held by ${holder}.`,
    })
  }
}
