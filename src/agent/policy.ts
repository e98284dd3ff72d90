import { LeafkeeperError } from '../errors.ts'
import { readRollSchedule, type RollScheduleOptions } from './roll-schedule.ts'
import type { Backoff, Emergency, Policy, RollKeyType, ScheduleName } from './states.ts'

/** The part of the policy a user may set; every duration that is a number is in milliseconds. */
export type PolicyOptions = Partial<Omit<Policy, 'dps' | 'ownRolls'>> & {
  /** When the agent rolls by itself, given an issuer. Default `{ at: '66%', jitter: '5%' }`. */
  readonly schedule?: RollScheduleOptions
}

/** What decides a part of the policy, beside the user's wishes. */
export interface PolicyCircumstances {
  /** Whether the device registers with DPS. */
  readonly dps: boolean
  /** The type of new keys; `null` where there is no issuer to certify them. */
  readonly keyType: RollKeyType | null
}

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour

/**
 * What holds where nothing is set. A device that its hub refuses, and that DPS refuses or cannot serve, begins no more
 * than two registrations a minute, so that 500 devices stay within the 1,000 a minute that DPS takes from all of them.
 * A larger fleet sets `debounce.baseMs` to a minute for each 500 devices, and `refusal` and `busy` likewise.
 */
export const defaultPolicy: Omit<Policy, 'dps'> = {
  overlapMs: day,
  retry: { baseMs: 1_000, capMs: 5 * minute },
  busy: { baseMs: 2 * minute, capMs: 30 * minute },
  refusal: { baseMs: 2 * minute, capMs: hour },
  lost: { baseMs: 5_000, capMs: 5 * minute, spread: 1 },
  debounce: { baseMs: 10_000, capMs: 30 * minute, spread: 0.9 },
  longestRetryAfterMs: day,
  emergency: { lifetimeShare: 0.1, windowMs: 7 * day, longestWaitMs: 5 * minute },
  stableAfterMs: minute,
  switchGraceMs: 10_000,
  askDpsAfterAttempts: 10,
  ownRolls: null,
}

const defaultSchedule: RollScheduleOptions = { at: '66%', jitter: '5%' }

/**
 * Fills in the defaults.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` that names the member, what was expected and what came
 */
export function completePolicy(
  { schedule = defaultSchedule, ...options }: PolicyOptions,
  { dps, keyType }: PolicyCircumstances,
): Policy {
  const read = readRollSchedule('policy.schedule', schedule)
  const ownRolls = keyType === null ? null : { keyType, schedule: read }
  const policy: Policy = { ...defaultPolicy, ...options, dps, ownRolls }
  for (const name of ['overlapMs', 'stableAfterMs', 'switchGraceMs', 'longestRetryAfterMs'] as const)
    requireNumber(`policy.${name}`, policy[name], 0)
  requireNumber('policy.askDpsAfterAttempts', policy.askDpsAfterAttempts, 1)
  for (const name of scheduleNames) requireBackoff(`policy.${name}`, policy[name])
  requireEmergency('policy.emergency', policy.emergency)
  return policy
}

const scheduleNames: readonly ScheduleName[] = ['retry', 'busy', 'refusal', 'lost', 'debounce']

function requireBackoff(path: string, { baseMs, capMs, spread = 0 }: Backoff): void {
  requireNumber(`${path}.baseMs`, baseMs, 1)
  requireNumber(`${path}.capMs`, capMs, baseMs)
  requireShare(`${path}.spread`, spread)
}

function requireEmergency(path: string, { lifetimeShare, windowMs, longestWaitMs }: Emergency): void {
  requireShare(`${path}.lifetimeShare`, lifetimeShare)
  requireNumber(`${path}.windowMs`, windowMs, 0)
  requireNumber(`${path}.longestWaitMs`, longestWaitMs, 1)
}

function requireShare(path: string, value: number): void {
  requireNumber(path, value, 0)
  if (value > 1) refuse(path, 'at most 1', value)
}

function requireNumber(path: string, value: number, least: number): void {
  if (!Number.isFinite(value) || value < least) refuse(path, `at least ${least}`, value)
}

function refuse(path: string, range: string, value: number): never {
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected ${path} to be a number of ${range}, got ${String(value)}.`,
  })
}
