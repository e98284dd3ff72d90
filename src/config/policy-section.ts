import * as v from 'valibot'
import { defaultPolicy } from '../agent/policy.ts'
import type { Percentage } from '../agent/roll-schedule.ts'
import type { ScheduleName } from '../agent/states.ts'
import { readDuration, writeDuration, type Duration } from '../duration.ts'
import { choice, has, members, optional, required } from './members.ts'
import { duration, expected, pathMark, percentage, readable, share, wholeNumber } from './values.ts'

const writtenPercentage = v.pipe(
  percentage,
  v.transform((text) => text as Percentage),
)
const writtenDuration = v.pipe(
  readable('a duration such as 30d, 12h, 10m, 90s or 500ms', 'duration', readDuration),
  v.transform((text) => text as Duration),
)

const never = v.literal('never', expected('never, { at: 66% } or { before: 30d }'))
const atShare = members({
  at: required(writtenPercentage, "When this part of the certificate's life is over,"),
  jitter: optional(writtenPercentage, 'or earlier by up to this part of its life.', '`5%`'),
})
const beforeEnd = members({
  before: required(writtenDuration, 'This long before its end,'),
  jitter: optional(writtenDuration, 'or earlier by up to this.', 'a twentieth of `before`'),
})

/** How failures of one kind are met. */
function backoff(name: ScheduleName, meets: string) {
  const { baseMs, capMs, spread = 0.5 } = defaultPolicy[name]
  const section = v.pipe(
    members({
      base: optional(duration({ least: 1 }), 'The first delay; it doubles.', `\`${writeDuration(baseMs)}\``),
      cap: optional(duration({ least: 1 }), 'The longest delay.', `\`${writeDuration(capMs)}\``),
      spread: optional(share, 'How much of the first delay is left to chance.', `\`${spread * 100}%\``),
    }),
    v.forward(
      v.check(
        ({ base = baseMs, cap = capMs }) => base <= cap,
        ({ input }) =>
          `Expected ${pathMark} to be at least as long as base (${writeDuration(input.base ?? baseMs)}), got ${writeDuration(input.cap ?? capMs)}.`,
      ),
      ['cap'],
    ),
  )
  return optional(section, meets)
}

/** When the agent rolls by itself, and what it does about failures. */
export function policySection() {
  const { overlapMs, longestRetryAfterMs, stableAfterMs, switchGraceMs, askDpsAfterAttempts, emergency } =
    defaultPolicy
  const lasting = (ms: number): string => `\`${writeDuration(ms)}\``
  return members({
    schedule: optional(
      choice<typeof never | typeof atShare | typeof beforeEnd>([never, atShare, beforeEnd], (value) => {
        if (has(value, 'before')) return beforeEnd
        return typeof value === 'object' && value !== null ? atShare : never
      }),
      'When the agent rolls by itself; `never` only when it is told to.',
      '`{ at: 66%, jitter: 5% }`',
    ),
    overlap: optional(
      duration(),
      'How long the old key stays on the token after a roll that was not for a breach.',
      lasting(overlapMs),
    ),
    retry: backoff('retry', 'A server that cannot be reached, a token that fails.'),
    busy: backoff('busy', 'A service that is there and cannot serve.'),
    refusal: backoff('refusal', 'A refusal, which somebody has to mend.'),
    lost: backoff('lost', 'A connection that was up and ended.'),
    debounce: backoff('debounce', "The hub's _unauthorized_, before DPS is asked."),
    longestRetryAfter: optional(
      duration(),
      'The longest wait that is taken from another side.',
      lasting(longestRetryAfterMs),
    ),
    emergency: optional(
      members({
        lifetimeShare: optional(
          share,
          "The last part of the certificate's life.",
          `\`${emergency.lifetimeShare * 100}%\``,
        ),
        window: optional(duration(), 'The longest such part.', lasting(emergency.windowMs)),
        longestWait: optional(
          duration({ least: 1 }),
          'The longest wait in it.',
          lasting(emergency.longestWaitMs),
        ),
      }),
      'When no wait may be long.',
    ),
    stableAfter: optional(
      duration(),
      'A connection that lasted this long forgets the failures before it.',
      lasting(stableAfterMs),
    ),
    switchGrace: optional(
      duration(),
      'How long a lost connection waits for a roll that is about to switch.',
      lasting(switchGraceMs),
    ),
    askDpsAfterAttempts: optional(
      wholeNumber(1),
      'After so many failures at a hub that cannot be reached, DPS is asked where the device belongs.',
      `\`${askDpsAfterAttempts}\``,
    ),
  })
}
