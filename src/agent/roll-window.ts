/** What a window has to be, for messages that say so. */
export const windowExpected =
  'a window { "start": ..., "end": ... } of two dates as ISO 8601 has them with their zone, the end not before the start'

/** `2026-05-01T08:00:00Z`: without a zone a date would mean another instant on each device. */
const instant = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}(:\d{2}(\.\d+)?)?(Z|[+-]\d{2}:\d{2})$/

/** Reads a window as the cloud sends it; `undefined` where it is none. */
export function readWindow(value: unknown): { readonly start: Date; readonly end: Date } | undefined {
  if (typeof value !== 'object' || value === null) return undefined
  const { start, end } = value as { start?: unknown; end?: unknown }
  const [from, until] = [dateOf(start), dateOf(end)]
  if (from === undefined || until === undefined || until < from) return undefined
  return { start: from, end: until }
}

function dateOf(text: unknown): Date | undefined {
  if (typeof text !== 'string' || !instant.test(text)) return undefined
  const date = new Date(text)
  return Number.isNaN(date.getTime()) ? undefined : date
}
