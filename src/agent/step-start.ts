import type { AgentEvent } from './events.ts'
import { reconcile } from './reconcile.ts'
import { candidates, change, type Draft } from './step-draft.ts'
import { requestRoll, startRoll } from './step-roll.ts'

type Started = Extract<AgentEvent, { kind: 'started' }>

/**
 * A process begins. What the token really holds replaces what was believed, and whatever was under way is forgotten:
 * planning begins it again, and every effect can be performed twice.
 */
export function startUp(draft: Draft, event: Started): void {
  const before = draft.state
  change(draft, {
    ...reconcile(before, event.found, event.commonName, draft.at),
    running: true,
    policy: event.policy,
    commonName: event.commonName,
    assignment: event.fixedAssignment ?? before.assignment,
    connection: { phase: 'offline' },
    destruction: null,
    wakeAt: null,
    tokenShut: null,
  })
  if ('overtakenBy' in before.roll) requestRoll(draft, before.roll.overtakenBy)
  const { roll } = draft.state
  const rolling = roll.phase !== 'idle' && roll.phase !== 'retiring' && roll.phase !== 'failed'
  if (candidates(draft).length > 0 || rolling || (roll.phase === 'failed' && roll.retryAt !== null)) return
  // The device has no identity, or its token lost it: it gets one, or it says what is missing.
  if (event.bootstrap === null)
    return change(draft, { connection: { phase: 'halted', code: 'HSM_KEY_NOT_FOUND' } })
  startRoll(draft, { mode: 'bootstrap', ...event.bootstrap })
}
