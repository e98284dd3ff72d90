import { describe, expect, it } from 'vitest'
import { readRollSchedule, type RollScheduleOptions } from '../../src/agent/roll-schedule.ts'

describe('a schedule as people write it', () => {
  it.each<[RollScheduleOptions, object | null]>([
    ['never', null],
    [{ at: '66%' }, { kind: 'at', share: 0.66, jitterShare: 0.05 }],
    [{ at: '3%' }, { kind: 'at', share: 0.03, jitterShare: 0.03 }],
    [
      { at: '99.5%', jitter: '0%' },
      { kind: 'at', share: 0.995, jitterShare: 0 },
    ],
    [
      { at: '50%', jitter: '50%' },
      { kind: 'at', share: 0.5, jitterShare: 0.5 },
    ],
    [{ before: '30d' }, { kind: 'before', beforeMs: 2_592_000_000, jitterMs: 129_600_000 }],
    [
      { before: '12h', jitter: '90s' },
      { kind: 'before', beforeMs: 43_200_000, jitterMs: 90_000 },
    ],
    [
      { before: '1.5m', jitter: '0ms' },
      { kind: 'before', beforeMs: 90_000, jitterMs: 0 },
    ],
  ])('%j', (options, schedule) => {
    expect(readRollSchedule('policy.schedule', options)).toEqual(schedule)
  })

  it.each<[unknown, string]>([
    ['always', 'policy.schedule to be "never", { at: "66%" } or { before: "30d" }'],
    [null, 'policy.schedule'],
    [66, 'policy.schedule'],
    [{}, 'policy.schedule'],
    [{ at: '66%', before: '30d' }, 'policy.schedule'],
    [{ at: 0.66 }, 'policy.schedule.at to be a percentage such as 66%, got 0.66'],
    [{ at: '66' }, 'policy.schedule.at'],
    [{ at: '0%' }, 'policy.schedule.at to lie between 0% and 100%'],
    [{ at: '100%' }, 'policy.schedule.at'],
    [{ at: '101%' }, 'policy.schedule.at'],
    [{ at: '66%', jitter: '67%' }, 'policy.schedule.jitter to be at most 66%'],
    [{ at: '66%', jitter: '1d' }, 'policy.schedule.jitter'],
    [{ before: '30 days' }, 'policy.schedule.before to be a duration such as 30d'],
    [{ before: 30 }, 'policy.schedule.before'],
    [{ before: '-1d' }, 'policy.schedule.before'],
    [{ before: '0d' }, 'policy.schedule.before to be longer than nothing'],
    [{ before: '30d', jitter: '5%' }, 'policy.schedule.jitter to be a duration'],
    [{ before: `${'9'.repeat(400)}d` }, 'policy.schedule.before'],
  ])('%j is refused by name', (options, message) => {
    expect(() => readRollSchedule('policy.schedule', options as RollScheduleOptions)).toThrow(
      expect.objectContaining({
        code: 'AGENT_CONFIG_INVALID',
        message: expect.stringContaining(message) as unknown,
      }) as Error,
    )
  })
})
