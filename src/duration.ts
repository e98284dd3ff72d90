import { LeafkeeperError } from './errors.ts'

const unitMs = { ms: 1, s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 } as const

/** A duration as people write it: a number and one of `ms`, `s`, `m`, `h`, `d`, as in `90s` or `1.5h`. */
export type Duration = `${number}${keyof typeof unitMs}`

/**
 * Reads a duration.
 *
 * @param path names the value in errors
 * @returns milliseconds
 * @example
 * ```ts
 * millisecondsOf('policy.schedule.before', '30d') // 2592000000
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
 */
export function millisecondsOf(path: string, text: string): number {
  const milliseconds = readDuration(text)
  if (milliseconds !== undefined) return milliseconds
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected ${path} to be a duration such as 30d, 12h, 10m, 90s or 500ms, got ${JSON.stringify(text)}.`,
  })
}

/** A duration in milliseconds; `undefined` for what is none. */
export function readDuration(text: string): number | undefined {
  const [, number, unit] = /^(\d+(?:\.\d+)?)(ms|s|m|h|d)$/.exec(text) ?? []
  const milliseconds = Number(number) * unitMs[unit as keyof typeof unitMs]
  return Number.isFinite(milliseconds) ? milliseconds : undefined
}

/** A duration as people write it, in the largest unit that leaves a whole number: `90s`, `2m`, `1d`. */
export function writeDuration(milliseconds: number): Duration {
  const units = Object.entries(unitMs) as [keyof typeof unitMs, number][]
  const [unit, ofUnit] = units.findLast(([, ms]) => milliseconds > 0 && milliseconds % ms === 0) ?? ['ms', 1]
  return `${milliseconds / ofUnit}${unit}`
}
