import { LeafkeeperError, messageOf } from '../errors.ts'
import { exitFor, exitTable, type Exit } from './exit-codes.ts'

/** Where a command writes. */
export interface Streams {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
}

/** What a command has found or done: in words, and as data for programs. */
export interface Report {
  readonly exit: Exit
  readonly words: string
  readonly data: object
}

/**
 * Runs a command and tells what came of it. In words, what it has found goes to standard output and what kept it from
 * that to standard error. As JSON, exactly one line goes to standard output in both cases: an error has the member
 * `error` with `code`, `message` and `retryable`.
 *
 * @returns the exit code
 */
export async function tell(
  { stdout, stderr }: Streams,
  json: boolean,
  command: () => Promise<Report>,
): Promise<number> {
  try {
    const { exit, words, data } = await command()
    stdout.write(json ? `${JSON.stringify(data)}\n` : words)
    return exitTable[exit].exitCode
  } catch (error) {
    const isOurs = error instanceof LeafkeeperError
    const code = isOurs ? error.code : null
    const message = messageOf(error)
    if (json)
      stdout.write(`${JSON.stringify({ error: { code, message, retryable: isOurs && error.retryable } })}\n`)
    else stderr.write(`leafkeeper: ${message}\n`)
    return exitTable[code === null ? 'failed' : exitFor(code)].exitCode
  }
}
