import { LeafkeeperError } from '../errors.ts'
import type { Backoff, Policy } from './states.ts'

/** The part of the policy a user may set; every duration is in milliseconds. */
export type PolicyOptions = Partial<Omit<Policy, 'dps'>>

const minute = 60_000

/** What holds where nothing is set. */
export const defaultPolicy: Omit<Policy, 'dps'> = {
  overlapMs: 24 * 60 * minute,
  retry: { baseMs: 1_000, capMs: 5 * minute },
  refusal: { baseMs: minute, capMs: 60 * minute },
  debounce: { baseMs: 1_000, capMs: 30 * minute },
  stableAfterMs: minute,
  switchGraceMs: 10_000,
  askDpsAfterAttempts: 10,
}

/**
 * Fills in the defaults.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` that names the member, what was expected and what came
 */
export function completePolicy(options: PolicyOptions, dps: boolean): Policy {
  const policy: Policy = { ...defaultPolicy, ...options, dps }
  for (const name of ['overlapMs', 'stableAfterMs', 'switchGraceMs'] as const)
    requireNumber(`policy.${name}`, policy[name], 0)
  requireNumber('policy.askDpsAfterAttempts', policy.askDpsAfterAttempts, 1)
  for (const name of ['retry', 'refusal', 'debounce'] as const) requireBackoff(`policy.${name}`, policy[name])
  return policy
}

function requireBackoff(path: string, { baseMs, capMs }: Backoff): void {
  requireNumber(`${path}.baseMs`, baseMs, 1)
  requireNumber(`${path}.capMs`, capMs, baseMs)
}

function requireNumber(path: string, value: number, least: number): void {
  if (Number.isFinite(value) && value >= least) return
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected ${path} to be a number of at least ${least}, got ${String(value)}.`,
  })
}
