import { step } from '../../src/agent/machine.ts'
import type { AgentState } from '../../src/agent/states.ts'
import { dpsPolicy } from '../support/machine.ts'
import { AgentModel, type Step } from './agent-model.ts'
import type { Budget } from './budget.ts'
import { Explorer, type Violation } from './explorer.ts'
import { noGenerations } from './generation-set.ts'
import { Happenings } from './happenings.ts'
import { invariants, rulesOfOneStep } from './invariants.ts'
import { storyOf } from './story.ts'
import type { Cloud } from './task-outcomes.ts'
import type { World } from './world.ts'

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
  /** The rules that it violates. */
  readonly violated: readonly string[]
}

/** Explores all that can happen within a budget, and whether from everywhere there is a way back to `connected`. */
export function explore({ budget, machine = step, cloud = withDps }: ExplorationOptions): Exploration {
  // Connections count as stable at once: what is forgotten then only sets delays, and which come first is left open.
  const policy = { ...dpsPolicy, dps: cloud.dps, stableAfterMs: 0, askDpsAfterAttempts: 2 }
  const agents = new AgentModel(machine, policy, 'gateway-7')
  const happenings = new Happenings({ agents, cloud, hubs: ['hub-a', 'hub-b'] })
  const explorer = new Explorer(happenings, invariants(agents), budget)
  const violation = explorer.explore() ?? neverAgain(explorer, agents)
  return {
    worlds: explorer.graph.worlds,
    transitions: explorer.graph.transitions,
    states: agents.size,
    violation: violation === null ? null : storyOf(violation),
    violated: violation === null ? [] : violation.findings.map(({ rule }) => rule),
  }
}

export const withDps: Cloud = { dps: true, byAuthority: false }

/** What has to come about again from everywhere, once the faults have stopped and the owner has done what is needed. */
const goals: readonly (readonly [
  rule: string,
  lost: string,
  isReached: (world: World, state: AgentState) => boolean,
])[] = [
  [
    'I5',
    'the device never reaches its hub again',
    (_world, { connection }) => connection.phase === 'connected',
  ],
  ['I7', 'a key that was breached is never destroyed', ({ burnt }) => burnt === noGenerations],
]

/** Everything that an exploration holds the machine to. */
export const rules: readonly string[] = [...rulesOfOneStep, ...goals.map(([rule]) => rule)]

/** A place from which a goal is out of reach. */
function neverAgain(explorer: Explorer, agents: AgentModel): Violation | null {
  const { graph, worlds } = explorer
  for (const [rule, lost, isReached] of goals) {
    const [first] = graph.cutOffFrom((number) => {
      const world = worlds[number]
      return world !== undefined && isReached(world, agents.state(world.agent))
    })
    if (first !== undefined)
      return { findings: [{ rule, what: `from here ${lost}` }], trace: explorer.traceTo(first) }
  }
  return null
}

/** What was explored, in one line. */
export function sizeOf({ rolls, crashes, faults }: Budget, { worlds, transitions }: Exploration): string {
  const count = (number: number): string => number.toLocaleString('en-US')
  return `${rolls} rolls, ${crashes} crashes, ${faults} faults: ${count(worlds)} states, ${count(transitions)} transitions`
}
