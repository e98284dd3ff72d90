/** How much a line matters, least first. */
export const logLevels = ['debug', 'info', 'warn', 'error'] as const

export type LogLevel = (typeof logLevels)[number]

/**
 * Where log lines go: structured fields first, then a message that is the same text for every line of its kind. A pino
 * instance is one as it is.
 *
 * @example
 * ```ts
 * await DeviceAgent.start({ ..., logger: pino() })
 * ```
 */
export type Logger = Readonly<Record<LogLevel, (fields: object, message: string) => void>>
