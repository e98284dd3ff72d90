import type { ErrorCode } from '../error-table.ts'
import type { ObservedStep } from './runner.ts'
import type { AgentState, Instant } from './states.ts'

/** Something that failed, and that the agent will try again by itself. */
export interface Retry {
  /** `registration` is one beside a connection that is up; `destruction` that of an old key. */
  readonly what: 'connection' | 'registration' | 'roll' | 'destruction'
  /** Counts the tries since it last worked, the coming one included. */
  readonly attempt: number
  readonly at: Date
  /** Why it is needed; `null` where that is not known any more. */
  readonly code: ErrorCode | null
}

/** A try that failed before, as it stands in a state. */
interface Again {
  readonly attempt: number
  readonly at: Instant
  readonly code?: ErrorCode | null
}

/** What a step has put off to be tried again. */
export function retriesOf({ before, event, after }: ObservedStep): readonly Retry[] {
  const { failure } = 'failure' in event ? event : { failure: undefined }
  const found: [Retry['what'], Again | undefined, Again | undefined][] = [
    ['connection', connectionAgain(before), connectionAgain(after)],
    ['registration', registrationAgain(before), registrationAgain(after)],
    ['roll', rollAgain(before), rollAgain(after)],
    ['destruction', destructionAgain(before), destructionAgain(after)],
  ]
  return found.flatMap(([what, earlier, now]) =>
    now === undefined || (earlier !== undefined && earlier.attempt >= now.attempt)
      ? []
      : [{ what, attempt: now.attempt + 1, at: new Date(now.at), code: now.code ?? failure?.code ?? null }],
  )
}

function connectionAgain({ connection }: AgentState): Again | undefined {
  if (connection.phase !== 'waiting' && connection.phase !== 'refused') return undefined
  // A wait for the roll, which connects by itself, is not a try that failed.
  if (connection.phase === 'waiting' && connection.forRoll) return undefined
  const { attempt, until, code } = connection
  return { attempt, at: until, code }
}

function registrationAgain({ connection }: AgentState): Again | undefined {
  const work = connection.phase === 'connected' ? connection.registering : null
  return work === null || work.attempt === 0 ? undefined : { attempt: work.attempt, at: work.retryAt }
}

function rollAgain({ roll }: AgentState): Again | undefined {
  switch (roll.phase) {
    case 'generating':
    case 'requesting':
    case 'storing':
      return roll.attempt === 0 ? undefined : { attempt: roll.attempt, at: roll.retryAt }
    case 'staged':
      return roll.attempt === 0 ? undefined : { attempt: roll.attempt, at: roll.proveAt, code: roll.code }
    case 'failed':
      return roll.retryAt === null
        ? undefined
        : { attempt: roll.plan.round + 1, at: roll.retryAt, code: roll.code }
    case 'idle':
    case 'proving':
    case 'switching':
    case 'retiring':
      return undefined
  }
}

function destructionAgain({ destruction }: AgentState): Again | undefined {
  return destruction === null || destruction.attempt === 0
    ? undefined
    : { attempt: destruction.attempt, at: destruction.retryAt }
}
