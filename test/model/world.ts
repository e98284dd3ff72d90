import type { Effect } from '../../src/agent/effects.ts'
import type { Operation } from '../../src/agent/states.ts'
import type { GenerationSet } from './generation-set.ts'
import type { Token } from './token.ts'

/** An effect that ends in an event. */
export type Task = Exclude<Extract<Effect, { readonly operation: Operation }>, { kind: 'closeConnection' }>

/** A task that the agent has begun and has heard nothing of. */
export interface Flight {
  readonly task: Task
  /** DPS has done its part, for the device at this hub; the answer is on its way. */
  readonly registeredAt: string | null
  /** All that tells it from another, but for its number. */
  readonly key: string
}

/** A connection that a hub has accepted and the agent has not closed. */
export interface OpenConnection {
  readonly operation: Operation
  readonly generation: number
  readonly hub: string
  /** False once the hub or the network has ended it; the agent is told next. */
  readonly alive: boolean
}

/** The device's record in the registry of a hub, as DPS wrote it: it names one generation. */
export interface HubRecord {
  readonly hub: string
  /** 0 where it names a generation that the device no longer has. */
  readonly generation: number
}

/** Everything there is: the agent, and all that it depends on. */
export interface World {
  /** The machine's state in memory, by its number. */
  readonly agent: number
  /** The state a restart begins with, where the disk lags behind the memory; `null` where it does not. */
  readonly journal: number | null
  readonly disk: 'writable' | 'full'
  /** Work on the token in the order it was begun, then everything else. */
  readonly flights: readonly Flight[]
  readonly token: Token
  /** Generations whose certificate stands in the enrollment, or in the hub where there is no DPS. */
  readonly enrolled: GenerationSet
  readonly enrollmentEnabled: boolean
  /** The hub that DPS assigns the device to. */
  readonly assigns: string
  readonly record: HubRecord | null
  readonly open: readonly OpenConnection[]
  /** Generations that a hub has accepted. */
  readonly accepted: GenerationSet
  /** Generations that others may know, since a breach roll was completed. */
  readonly burnt: GenerationSet
  /** The token has refused the PIN; only a person can change that. */
  readonly pinRefused: boolean
  /** A breach roll was asked for, and has not begun. */
  readonly breachOwed: boolean
}

/** A task that has just begun, or that waits under another number. */
export function flightOf(task: Task, registeredAt: string | null = null): Flight {
  const { operation: _number, ...rest } = task
  return { task, registeredAt, key: `${JSON.stringify(rest)}${registeredAt ?? ''}` }
}

/** The same flight under another number; its key, which every world asks for, stays. */
export function underNumber(flight: Flight, operation: Operation): Flight {
  return flight.task.operation === operation ? flight : { ...flight, task: { ...flight.task, operation } }
}

/** Whether the agent does it in turn with all other work on the token. */
export function isOnToken({ task }: Flight): boolean {
  return task.kind === 'generateKey' || task.kind === 'storeCertificate' || task.kind === 'destroyGeneration'
}
