import { describe, expect, it } from 'vitest'
import { completePolicy, defaultPolicy, type PolicyOptions } from '../../src/agent/policy.ts'
import { requireRegistrationId } from '../../src/agent/registration-id.ts'

describe('a registration id', () => {
  it.each(['a', 'Gateway-7', 'a.b_c:d-', 'x'.repeat(64)])('may be %s', (id) => {
    expect(requireRegistrationId(id)).toBe(id)
  })

  it.each(['', 'ends.', 'with space', 'x'.repeat(65), 'über', 'new\nline', 'a/b'])('may not be %j', (id) => {
    expect(() => requireRegistrationId(id)).toThrow(
      expect.objectContaining({
        code: 'AGENT_CONFIG_INVALID',
        message: expect.stringContaining(JSON.stringify(id)) as unknown,
      }) as Error,
    )
  })
})

describe('a policy', () => {
  it('is complete with nothing set', () => {
    expect(completePolicy({}, { dps: true, keyType: null })).toEqual({ ...defaultPolicy, dps: true })
  })

  it('rolls by itself at two thirds of the life of a certificate where there is an issuer', () => {
    expect(completePolicy({}, { dps: true, keyType: 'EC-P384' }).ownRolls).toEqual({
      keyType: 'EC-P384',
      schedule: { kind: 'at', share: 0.66, jitterShare: 0.05 },
    })
  })

  const wrong: [PolicyOptions, string][] = [
    [{ overlapMs: -1 }, 'policy.overlapMs'],
    [{ stableAfterMs: Number.NaN }, 'policy.stableAfterMs'],
    [{ askDpsAfterAttempts: 0 }, 'policy.askDpsAfterAttempts'],
    [{ retry: { baseMs: 0, capMs: 10 } }, 'policy.retry.baseMs'],
    [{ refusal: { baseMs: 100, capMs: 10 } }, 'policy.refusal.capMs'],
    [{ debounce: { baseMs: 1, capMs: Number.POSITIVE_INFINITY } }, 'policy.debounce.capMs'],
    [
      { lost: { baseMs: 1, capMs: 1, spread: 1.1 } },
      'policy.lost.spread to be a number of at most 1, got 1.1',
    ],
    [{ busy: { baseMs: 1, capMs: 1, spread: -0.1 } }, 'policy.busy.spread'],
    [{ longestRetryAfterMs: -1 }, 'policy.longestRetryAfterMs'],
    [{ emergency: { ...defaultPolicy.emergency, lifetimeShare: 2 } }, 'policy.emergency.lifetimeShare'],
    [{ emergency: { ...defaultPolicy.emergency, windowMs: Number.NaN } }, 'policy.emergency.windowMs'],
    [{ emergency: { ...defaultPolicy.emergency, longestWaitMs: 0 } }, 'policy.emergency.longestWaitMs'],
  ]

  it.each(wrong)('%j is refused by name', (options, path) => {
    expect(() => completePolicy(options, { dps: true, keyType: null })).toThrow(
      expect.objectContaining({
        code: 'AGENT_CONFIG_INVALID',
        message: expect.stringContaining(path) as unknown,
      }) as Error,
    )
  })
})
