import { logLevels, type Logger, type LogLevel } from './logger.ts'

/** How a {@link jsonLogger} writes. */
export interface JsonLoggerOptions {
  /** Lines below it are left out. Default `info`. */
  readonly level?: LogLevel
  /** Where lines go; each ends with a line feed. Default: standard output. */
  readonly write?: (line: string) => void
  /** Milliseconds since 1970-01-01T00:00:00Z. Default: the clock of the operating system. */
  readonly now?: () => number
}

/**
 * A logger without a library behind it: one JSON object a line, with `level`, `time` (ISO 8601), the fields and `msg`.
 *
 * @example
 * ```ts
 * await DeviceAgent.start({ ..., logger: jsonLogger({ level: 'debug' }) })
 * ```
 */
export function jsonLogger(options: JsonLoggerOptions = {}): Logger {
  const { level: least = 'info', now = Date.now } = options
  const { write = (line: string) => void process.stdout.write(line) } = options
  const lineAt = (level: LogLevel) =>
    logLevels.indexOf(level) < logLevels.indexOf(least)
      ? () => undefined
      : (fields: object, msg: string) =>
          write(`${JSON.stringify({ level, time: new Date(now()).toISOString(), ...fields, msg })}\n`)
  return { debug: lineAt('debug'), info: lineAt('info'), warn: lineAt('warn'), error: lineAt('error') }
}
