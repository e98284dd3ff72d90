import { readFileSync, rmSync, writeFileSync } from 'node:fs'

/** The locks of this process: in a container, a process that was killed may have had the same number. */
const held = new Set<string>()

/**
 * Keeps a second cloud out of a data folder. The lock of a process that is gone is taken over.
 *
 * @returns what gives the lock back
 * @throws Error that names the process which has it
 */
export function lockFolder(path: string): () => void {
  for (;;) {
    try {
      writeFileSync(path, String(process.pid), { flag: 'wx' })
      held.add(path)
      return () => {
        if (held.delete(path)) rmSync(path, { force: true })
      }
    } catch (error) {
      if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error
    }
    const owner = Number(readFileSync(path, 'utf8'))
    if (owner === process.pid ? held.has(path) : isAlive(owner)) {
      throw new Error(
        `Another cloud uses this data folder: process ${owner} holds ${path}. Stop it, or remove that file if it is no cloud.`,
      )
    }
    rmSync(path, { force: true })
  }
}

function isAlive(pid: number): boolean {
  if (!Number.isInteger(pid) || pid <= 0) return false
  try {
    process.kill(pid, 0)
    return true
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM'
  }
}
