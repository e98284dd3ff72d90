import { LeafkeeperError, messageOf } from '../errors.ts'
import { printable } from './printable.ts'
import { runProgram, type ProgramEnd } from './run-program.ts'
import type { IssueAnswer, IssueRequest, Issuer } from './issuer.ts'

/** A program that turns a request into a chain. */
export interface CommandIssuerOptions {
  /** The program: a path, or a name that is looked up in `PATH`. There is no shell. */
  readonly program: string
  readonly arguments?: readonly string[]
  /** Default: the folder of the process. */
  readonly workingFolder?: string
  /** Added to the environment of the process. Secrets go in here or into files, never into `arguments`. */
  readonly environment?: Readonly<Record<string, string>>
  /** How long one run may take, in milliseconds; default two minutes, at most five. */
  readonly timeoutMs?: number
  /** When a pending answer is asked for again, in milliseconds; default one minute. */
  readonly retryAfterMs?: number
}

/** As in sysexits(3): try again later, and permission denied. */
const exitPending = 75
const exitRefused = 77

const mostOutputBytes = 64 * 1024
const longestTicket = 1_024
const defaultTimeoutMs = 2 * 60_000
/** How long a program may take at most, in milliseconds. */
export const longestProgramMs = 5 * 60_000

/**
 * An issuer that is a program: the request (PKCS#10, PEM) on its standard input, the chain (PEM leaf first, or
 * certs-only PKCS#7) on its standard output.
 *
 * It finds `LEAFKEEPER_COMMON_NAME`, `LEAFKEEPER_REQUEST_ID` (the same for every try of one roll),
 * `LEAFKEEPER_REASON` (`expiry`, `breach`, `bootstrap`), and when it is asked again `LEAFKEEPER_TICKET` in its
 * environment. Exit codes: 0, the chain is there; 75, not yet: what it has printed is the ticket; 77, refused for
 * good; any other, tried again later. What it writes to standard error stands in the error, at most the last 2 KiB.
 *
 * @example
 * ```ts
 * commandIssuer({ program: 'step', arguments: ['ca', 'sign', '/dev/stdin', '/dev/stdout', '--token-file', '/run/token'] })
 * commandIssuer({ program: '/etc/leafkeeper/issue.sh' })
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` for a value out of its range. A request rejects with
 * `ISSUER_UNAVAILABLE` or `ISSUER_REFUSED`, or with `CERT_TOO_LARGE`
 */
export function commandIssuer(options: CommandIssuerOptions): Issuer {
  const { program, retryAfterMs = 60_000, timeoutMs = defaultTimeoutMs } = options
  requireBetween('timeoutMs', timeoutMs, 1, longestProgramMs)
  requireBetween('retryAfterMs', retryAfterMs, 1, Number.MAX_SAFE_INTEGER)
  if (program === '')
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: "Expected the command issuer's program to be a path or a name, got an empty text.",
    })

  const ask = async (request: IssueRequest, ticket?: string): Promise<IssueAnswer> => {
    const { commonName, requestId, reason, signal, csr } = request
    const end = await runProgram({
      program,
      arguments: options.arguments ?? [],
      workingFolder: options.workingFolder,
      environment: {
        ...process.env,
        ...options.environment,
        LEAFKEEPER_COMMON_NAME: commonName,
        LEAFKEEPER_REQUEST_ID: requestId,
        LEAFKEEPER_REASON: reason,
        LEAFKEEPER_TICKET: ticket,
      },
      input: csr,
      timeoutMs,
      mostOutputBytes,
      signal,
    }).catch((error: unknown) => {
      throw new LeafkeeperError('ISSUER_UNAVAILABLE', {
        message: `The issuer's program ${program} could not be started (${messageOf(error)}).`,
        cause: error,
      })
    })
    return answerOf(program, end, timeoutMs, retryAfterMs)
  }
  return {
    name: `command ${program}`,
    submit: (request) => ask(request),
    resume: (ticket, request) => ask(request, ticket),
  }
}

function answerOf(program: string, end: ProgramEnd, timeoutMs: number, retryAfterMs: number): IssueAnswer {
  const { reason, exitCode, output } = end
  if (reason === 'output')
    throw new LeafkeeperError('CERT_TOO_LARGE', {
      message: `The issuer's program ${program} printed more than ${mostOutputBytes} bytes.`,
    })
  if (reason === 'timeout') throw failed(program, `had not ended after ${timeoutMs} ms`, end)
  if (reason === 'aborted') throw failed(program, 'was ended, since the request was given up', end)
  if (reason === 'signal') throw failed(program, `was ended by ${String(end.exitSignal)}`, end)
  switch (exitCode) {
    case 0:
      return { kind: 'issued', chain: output }
    case exitPending: {
      const ticket = output.trim()
      if (ticket.length > longestTicket)
        throw failed(
          program,
          `printed a ticket of ${ticket.length} characters, at most ${longestTicket}`,
          end,
        )
      return { kind: 'pending', ticket, retryAfterMs }
    }
    case exitRefused:
      throw failed(program, `refused the request (exit code ${exitRefused})`, end, 'ISSUER_REFUSED')
    default:
      throw failed(program, `ended with exit code ${String(exitCode)}`, end)
  }
}

function failed(
  program: string,
  what: string,
  { errors, exitCode }: ProgramEnd,
  code: 'ISSUER_UNAVAILABLE' | 'ISSUER_REFUSED' = 'ISSUER_UNAVAILABLE',
): LeafkeeperError {
  const said = printable(errors)
  return new LeafkeeperError(code, {
    message: `The issuer's program ${program} ${what}${said === '' ? '' : `, and said: ${said}`}.`,
    ...(exitCode === null ? {} : { reason: String(exitCode) }),
  })
}

function requireBetween(name: string, value: number, least: number, most: number): void {
  if (Number.isFinite(value) && value >= least && value <= most) return
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected the command issuer's ${name} to be from ${least} to ${most}, got ${String(value)}.`,
  })
}
