import { Writable } from 'node:stream'
import { pino, type Logger } from 'pino'

/** A line of a log, read back. */
export type LogLine = Readonly<Record<string, unknown>> & { readonly event: string; readonly msg: string }

/** A real pino logger, and what it has written so far. */
export interface LogLines {
  readonly logger: Logger
  /** Everything, as it was written. */
  readonly text: () => string
  /** The lines of some events; of all where none is named. */
  readonly lines: (...events: string[]) => LogLine[]
}

/** Makes a pino logger at its lowest level that writes into memory. */
export function logLines(): LogLines {
  let text = ''
  const stream = new Writable({
    write(chunk: Buffer, _encoding, done) {
      text += chunk.toString()
      done()
    },
  })
  const logger = pino(
    { level: 'debug', formatters: { level: (level) => ({ level }), bindings: () => ({}) } },
    stream,
  )
  return {
    logger,
    text: () => text,
    lines: (...events) =>
      text
        .split('\n')
        .filter((line) => line !== '')
        .map((line) => JSON.parse(line) as LogLine)
        .filter(({ event }) => events.length === 0 || events.includes(event)),
  }
}
