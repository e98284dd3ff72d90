import { execFile, execFileSync } from 'node:child_process'
import { join, resolve } from 'node:path'

const root = resolve(import.meta.dirname, '../..')

/** What a command has written, and how it ended. */
export interface Ended {
  readonly exitCode: number
  readonly stdout: string
  readonly stderr: string
}

/** Compiles `src`, which takes a moment where nothing has changed. Call it before commands are run. */
export function compile(): void {
  execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', 'src'], { cwd: root })
}

/** Runs the compiled `leafkeeper` as a process of its own, behind what stands before it on the command line. */
export async function leafkeeper(args: readonly string[], before: readonly string[] = []): Promise<Ended> {
  const [file = process.execPath, ...rest] = [
    ...before,
    process.execPath,
    join(root, 'bin/leafkeeper.mjs'),
    ...args,
  ]
  return new Promise((done, failed) => {
    execFile(file, rest, (error, stdout, stderr) => {
      const exitCode = error === null ? 0 : error.code
      if (typeof exitCode === 'number') done({ exitCode, stdout, stderr })
      else failed(error ?? new Error('ended without an exit code'))
    })
  })
}
