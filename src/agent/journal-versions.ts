import { LeafkeeperError } from '../errors.ts'
import type { AgentEvent } from './events.ts'
import { journalDamaged } from './journal-errors.ts'
import { journalVersion, type StoredRecord } from './journal-format.ts'
import { initialState, step } from './machine.ts'
import { defaultPolicy } from './policy.ts'
import type { AgentState, Policy } from './states.ts'

/** What the records of a journal come to. */
export interface Restored {
  readonly state: AgentState
  /** What happened since the state that the journal begins with, for people. */
  readonly events: readonly AgentEvent[]
}

type Reader = (snapshot: AgentState, records: readonly StoredRecord[]) => Restored

/** How the records of each version that ever was are read, oldest first. */
const readers: Readonly<Record<number, Reader>> = {
  // 1: a record holds an event, and the state follows by taking it through the machine. A machine that has changed
  // since may come to another state; that counts as an older journal, which a start mends.
  1: ({ schema: _, ...snapshot }: AgentState & { readonly schema?: number }, records) => {
    const events = records.flatMap(({ event }) =>
      event === undefined ? [] : [completedEvent(event as AgentEvent)],
    )
    return { state: events.reduce((state, event) => step(state, event).state, snapshot), events }
  },
  // 2: a record holds an event and the members of the state that it has changed.
  2: (snapshot, records) => ({
    state: records.reduce<AgentState>(
      (state, { changes }) => ({ ...state, ...(changes as Partial<AgentState> | undefined) }),
      snapshot,
    ),
    events: records.flatMap(({ event }) => (event === undefined ? [] : [event as AgentEvent])),
  }),
}

/**
 * Restores the state from the records of a journal, whichever version wrote them.
 *
 * @param path names the journal in errors
 * @throws LeafkeeperError `JOURNAL_UNKNOWN_VERSION` for the journal of a newer leafkeeper, `JOURNAL_DAMAGED` where it
 * does not begin with a state
 */
export function restoreState(path: string, [first, ...rest]: readonly StoredRecord[]): Restored {
  if (first === undefined) throw journalDamaged(path, 0)
  const version = first.schema
  const reader = readers[version]
  if (reader === undefined)
    throw new LeafkeeperError('JOURNAL_UNKNOWN_VERSION', {
      message: `Expected a journal of version ${journalVersion} or older in ${path}, found version ${version}.`,
    })
  if (first.state === undefined) throw journalDamaged(path, 0)
  const { state, events } = reader(completedState(first.state as AgentState), rest)
  return { state: completedState(state), events }
}

/** What later versions have added beside what is there: a member at the top of the state, a number of the policy. */
function completedState(state: AgentState): AgentState {
  const policy = completedPolicy(state.policy)
  return { ...initialState(policy, state.commonName), ...state, policy }
}

function completedEvent(event: AgentEvent): AgentEvent {
  return event.kind === 'started' ? { ...event, policy: completedPolicy(event.policy) } : event
}

function completedPolicy(policy: Policy): Policy {
  return { ...defaultPolicy, ...policy }
}
