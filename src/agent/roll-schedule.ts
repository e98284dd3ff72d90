import { millisecondsOf, type Duration } from '../duration.ts'
import { LeafkeeperError } from '../errors.ts'
import type { RollSchedule } from './states.ts'

/** A part of a whole, as in `66%`. */
export type Percentage = `${number}%`

/**
 * When the agent rolls by itself. The end of a certificate is that of the first certificate of its chain to expire.
 *
 * - `'never'`: only when it is told to;
 * - `at`: when this part of the certificate's life is over, earlier by up to `jitter` of that life (default `5%`);
 * - `before`: this long before its end, earlier by up to `jitter` (default a twentieth of `before`).
 *
 * How much earlier is fixed for each certificate, by its thumbprint, so that a fleet that was rolled together is not
 * rolled together again. A `before` that is longer than half of a certificate's life counts as about half of it.
 */
export type RollScheduleOptions =
  | 'never'
  | { readonly at: Percentage; readonly jitter?: Percentage }
  | { readonly before: Duration; readonly jitter?: Duration }

/** Of the life of a certificate, or of the time before its end. */
const defaultJitter = 0.05

/**
 * Reads a schedule.
 *
 * @param path names the value in errors
 * @returns `null` for `'never'`
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` that names the member, what was expected and what came
 */
export function readRollSchedule(path: string, options: RollScheduleOptions): RollSchedule | null {
  if (options === 'never') return null
  if (isObject(options) && 'at' in options !== 'before' in options)
    return 'at' in options ? atShare(path, options) : beforeEnd(path, options)
  return invalid(
    path,
    `to be "never", { at: "66%" } or { before: "30d" }, each with or without jitter`,
    options,
  )
}

function atShare(path: string, { at, jitter }: { at: Percentage; jitter?: Percentage }): RollSchedule {
  const share = shareOf(`${path}.at`, at)
  if (share <= 0 || share >= 1) invalid(`${path}.at`, 'to lie between 0% and 100%', at)
  const jitterShare =
    jitter === undefined ? Math.min(defaultJitter, share) : shareOf(`${path}.jitter`, jitter)
  if (jitterShare > share)
    invalid(`${path}.jitter`, `to be at most ${at}, the part of the life it lies in`, jitter)
  return { kind: 'at', share, jitterShare }
}

function beforeEnd(path: string, { before, jitter }: { before: Duration; jitter?: Duration }): RollSchedule {
  const beforeMs = millisecondsOf(`${path}.before`, textOf(`${path}.before`, before))
  if (beforeMs === 0) invalid(`${path}.before`, 'to be longer than nothing', before)
  const jitterMs =
    jitter === undefined
      ? beforeMs * defaultJitter
      : millisecondsOf(`${path}.jitter`, textOf(`${path}.jitter`, jitter))
  return { kind: 'before', beforeMs, jitterMs }
}

function shareOf(path: string, text: unknown): number {
  const [, number] = typeof text === 'string' ? (/^(\d+(?:\.\d+)?)%$/.exec(text) ?? []) : []
  const share = Number(number) / 100
  return share <= 1 ? share : invalid(path, 'to be a percentage such as 66%', text)
}

function textOf(path: string, value: unknown): string {
  return typeof value === 'string' ? value : invalid(path, 'to be a duration such as 30d', value)
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null
}

function invalid(path: string, expected: string, got: unknown): never {
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected ${path} ${expected}, got ${JSON.stringify(got)}.`,
  })
}
