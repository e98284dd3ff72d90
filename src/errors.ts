import { errorTable, type ErrorCode } from './error-table.ts'

export type { ErrorCode } from './error-table.ts'

const mark = Symbol.for('leafkeeper.error')

/** What a {@link LeafkeeperError} is made of. */
export interface LeafkeeperErrorDetails {
  /** What was expected and what came, as one or more sentences. No secret may stand in it. */
  readonly message?: string
  readonly cause?: unknown
  /** Overrides the table, where one code covers both kinds. */
  readonly retryable?: boolean
  /** How long the server asked to wait, in milliseconds. */
  readonly retryAfterMs?: number
  /** The number or name that the other side gave (`401002`, `CKR_PIN_INCORRECT`, `ECONNREFUSED`). */
  readonly reason?: string
}

/**
 * The one error type of leafkeeper. Its `code` is stable and documented; its message says what was expected,
 * what came and what to do next.
 *
 * `instanceof` also holds across two copies of the package in one process.
 *
 * @example
 * ```ts
 * try {
 *   agent = await DeviceAgent.start(options)
 * } catch (error) {
 *   if (error instanceof LeafkeeperError && error.code === 'HSM_PIN_INCORRECT') askForThePin()
 * }
 * ```
 */
export class LeafkeeperError extends Error {
  override readonly name = 'LeafkeeperError'
  readonly code: ErrorCode
  /** Whether the same call can succeed later without a person changing something. */
  readonly retryable: boolean
  /** How long the server asked to wait, in milliseconds. */
  readonly retryAfterMs: number | undefined
  /** What the other side called it (`401002`, `CKR_PIN_INCORRECT`, `ECONNREFUSED`). */
  readonly reason: string | undefined

  constructor(code: ErrorCode, details: LeafkeeperErrorDetails = {}) {
    const row = errorTable[code]
    const message = details.message ?? row.meaning
    super(
      // A message of several lines ends with a line break.
      `${message}${message.endsWith('\n') ? '' : ' '}${row.cure}`,
      details.cause === undefined ? {} : { cause: details.cause },
    )
    this.code = code
    this.retryable = details.retryable ?? row.retryable
    this.retryAfterMs = details.retryAfterMs
    this.reason = details.reason
    Object.defineProperty(this, mark, { value: true })
  }

  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && mark in value
  }
}

/** The message of anything that was thrown, for use inside another message. */
export function messageOf(thrown: unknown): string {
  return thrown instanceof Error ? thrown.message : String(thrown)
}
