import { spawn } from 'node:child_process'

/** One run of a program. */
export interface ProgramRun {
  readonly program: string
  readonly arguments: readonly string[]
  readonly workingFolder?: string | undefined
  /** The whole environment. */
  readonly environment: NodeJS.ProcessEnv
  readonly input: string
  readonly timeoutMs: number
  readonly mostOutputBytes: number
  readonly signal: AbortSignal
}

/** How a run ended. Output is kept as it came; of what went to standard error, the end. */
export interface ProgramEnd {
  readonly output: string
  readonly errors: string
  /** `timeout`, `output`, `aborted`: it was ended for that; `code`: it ended by itself. */
  readonly reason: 'code' | 'signal' | 'timeout' | 'output' | 'aborted'
  readonly exitCode: number | null
  readonly exitSignal: NodeJS.Signals | null
}

const keptErrorBytes = 2_048

/** Between SIGTERM and SIGKILL, in milliseconds. */
const graceMs = 2_000

/**
 * Runs a program without a shell, in a process group of its own, so that what it has started ends with it.
 * Rejects only where the program could not be started (Node's error, such as `ENOENT`).
 */
export function runProgram(run: ProgramRun): Promise<ProgramEnd> {
  return new Promise((resolve, reject) => {
    const child = spawn(run.program, run.arguments, {
      cwd: run.workingFolder,
      env: run.environment,
      detached: true,
      stdio: ['pipe', 'pipe', 'pipe'],
    })
    const output: Buffer[] = []
    let size = 0
    let errors: Buffer = Buffer.alloc(0)
    let ended: ProgramEnd['reason'] | undefined
    let killing: NodeJS.Timeout | undefined

    const end = (reason: ProgramEnd['reason']): void => {
      if (ended !== undefined) return
      ended = reason
      signalGroup(child.pid, 'SIGTERM')
      killing = setTimeout(() => signalGroup(child.pid, 'SIGKILL'), graceMs)
    }
    const limit = setTimeout(() => end('timeout'), run.timeoutMs)
    const abort = (): void => end('aborted')
    const settle = (): void => {
      clearTimeout(limit)
      clearTimeout(killing)
      run.signal.removeEventListener('abort', abort)
    }
    if (run.signal.aborted) abort()
    run.signal.addEventListener('abort', abort)

    child.stdout.on('data', (chunk: Buffer) => {
      size += chunk.length
      if (size > run.mostOutputBytes) end('output')
      else output.push(chunk)
    })
    child.stderr.on('data', (chunk: Buffer) => {
      errors = Buffer.concat([errors, chunk]).subarray(-keptErrorBytes)
    })
    // A program that does not read its input ends before all of it is written.
    child.stdin.on('error', () => undefined)
    child.stdin.end(run.input)
    child.once('error', (error) => {
      settle()
      reject(error)
    })
    child.once('close', (exitCode, exitSignal) => {
      settle()
      // What it left running in its group ends with it.
      signalGroup(child.pid, 'SIGKILL')
      resolve({
        output: Buffer.concat(output).toString('utf8'),
        errors: errors.toString('utf8'),
        reason: ended ?? (exitSignal === null ? 'code' : 'signal'),
        exitCode,
        exitSignal,
      })
    })
  })
}

function signalGroup(pid: number | undefined, signal: NodeJS.Signals): void {
  if (pid === undefined) return
  try {
    process.kill(-pid, signal)
  } catch {
    // The group is gone already.
  }
}
