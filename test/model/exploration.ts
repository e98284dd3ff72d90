import { step } from '../../src/agent/machine.ts'
import { dpsPolicy } from '../support/machine.ts'
import { AgentModel, type Step } from './agent-model.ts'
import type { Budget } from './budget.ts'
import { Explorer, type Violation } from './explorer.ts'
import { Happenings } from './happenings.ts'
import { invariants } from './invariants.ts'
import { storyOf } from './story.ts'
import type { Cloud } from './task-outcomes.ts'

/** What is explored. */
export interface ExplorationOptions {
  readonly budget: Budget
  /** The machine; the production one where nothing is said. */
  readonly machine?: Step
  /** Default: DPS, and hubs that go by the thumbprint. */
  readonly cloud?: Cloud
}

/** What an exploration has found. */
export interface Exploration {
  readonly worlds: number
  readonly transitions: number
  /** States of the machine, up to what it cannot tell apart. */
  readonly states: number
  /** The shortest story of a violation; `null` where there is none. */
  readonly violation: string | null
}

/** Explores all that can happen within a budget, and whether from everywhere there is a way back to `connected`. */
export function explore({ budget, machine = step, cloud = withDps }: ExplorationOptions): Exploration {
  // Connections count as stable at once: what is forgotten then only sets delays, and which come first is left open.
  const policy = { ...dpsPolicy, dps: cloud.dps, stableAfterMs: 0, askDpsAfterAttempts: 2 }
  const agents = new AgentModel(machine, policy, 'gateway-7')
  const happenings = new Happenings({ agents, cloud, hubs: ['hub-a', 'hub-b'] })
  const explorer = new Explorer(happenings, invariants(agents), budget)
  const violation = explorer.explore() ?? stranded(explorer, agents)
  return {
    worlds: explorer.graph.worlds,
    transitions: explorer.graph.transitions,
    states: agents.size,
    violation: violation === null ? null : storyOf(violation),
  }
}

export const withDps: Cloud = { dps: true, byAuthority: false }

/** I5: from everywhere the device comes back to its hub once the faults have stopped and the owner has done what is needed. */
function stranded(explorer: Explorer, agents: AgentModel): Violation | null {
  const { graph, worlds } = explorer
  const isConnected = (world: number): boolean => {
    const agent = worlds[world]?.agent
    return agent !== undefined && agents.state(agent).connection.phase === 'connected'
  }
  const [first] = graph.cutOffFrom(isConnected)
  return first === undefined
    ? null
    : { what: 'I5: from here the device never reaches its hub again', trace: explorer.traceTo(first) }
}

/** What was explored, in one line. */
export function sizeOf({ rolls, crashes, faults }: Budget, { worlds, transitions }: Exploration): string {
  const count = (number: number): string => number.toLocaleString('en-US')
  return `${rolls} rolls, ${crashes} crashes, ${faults} faults: ${count(worlds)} states, ${count(transitions)} transitions`
}
