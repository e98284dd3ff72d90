import type { EventEmitter } from 'node:events'
import type { DeviceAgentEvents } from './agent-events.ts'
import type { AgentStatus } from './status.ts'
import type { AgentState } from './states.ts'

/** An agent as those see it who only watch. */
export interface ObservedAgent extends EventEmitter<DeviceAgentEvents> {
  readonly state: AgentState
  status(): AgentStatus
}

/** Who is told of each agent that is started with it: metrics are. */
export interface AgentWatcher {
  /** Before the agent does anything. */
  watch(agent: ObservedAgent): void
  startFailed(registrationId: string, error: unknown): void
}

/** Listens to an event whose name is only known as one of many. */
export function listenTo<Name extends keyof DeviceAgentEvents>(
  agent: ObservedAgent,
  name: Name,
  listener: (...args: DeviceAgentEvents[Name]) => void,
): void {
  // Node's types cannot tell that a listener fits a name which is itself a parameter.
  const untyped: EventEmitter = agent
  untyped.on(name, listener as (...args: unknown[]) => void)
}
