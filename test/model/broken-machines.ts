import type { Effect } from '../../src/agent/effects.ts'
import type { AgentEvent } from '../../src/agent/events.ts'
import { step } from '../../src/agent/machine.ts'
import type { AgentState } from '../../src/agent/states.ts'
import type { Step } from './agent-model.ts'
import type { Budget } from './budget.ts'

/** The production machine with one mistake made on purpose, which one rule has to find. */
export interface BrokenMachine {
  readonly mistake: string
  /** The only rule that the shortest story breaks. */
  readonly breaks: string
  /** What the story says first. */
  readonly told: RegExp
  /** The least that has to happen. */
  readonly budget: Budget
  readonly machine: Step
}

const nothing: Budget = { rolls: 0, crashes: 0, faults: 0 }

/** At least one for each rule. */
export const brokenMachines: readonly BrokenMachine[] = [
  {
    mistake: 'destroys the generation in use in place of the one kept for the overlap',
    breaks: 'I1',
    told: /the active generation #2 is not on the token/,
    budget: { ...nothing, rolls: 1 },
    machine: withEffects((effects, { active, generations }) =>
      generations.some(({ compromised }) => compromised)
        ? effects
        : effects.map((effect) =>
            effect.kind === 'destroyGeneration' ? { ...effect, generation: active ?? 0 } : effect,
          ),
    ),
  },
  {
    mistake: 'moves the pointer when it begins to switch',
    breaks: 'I2',
    told: /the pointer moved to #2, which no hub has accepted/,
    budget: { ...nothing, rolls: 1 },
    machine: withState((state) =>
      state.roll.phase === 'switching' ? { ...state, active: state.roll.plan.generation } : state,
    ),
  },
  {
    mistake: 'makes a key before the generations that leave have left',
    breaks: 'I3',
    told: /there are 3 generations on the token, 2 are allowed/,
    budget: { ...nothing, rolls: 2 },
    machine: hearing((event, before) => [
      event,
      {
        ...before,
        generations: before.generations.filter(
          ({ retireAt, compromised }) => retireAt === null || compromised,
        ),
      },
    ]),
  },
  {
    mistake: 'stores a certificate for any name',
    breaks: 'I4',
    told: /the token holds a certificate for another name as #1/,
    budget: { ...nothing, faults: 1 },
    machine: hearing((event, before) =>
      event.kind === 'certificateIssued'
        ? [{ ...event, certificate: { ...event.certificate, commonName: before.commonName } }, before]
        : [event, before],
    ),
  },
  {
    mistake: 'does not ask again once everybody has refused it',
    breaks: 'I5',
    told: /from here the device never reaches its hub again/,
    budget: nothing,
    machine: (before, event) =>
      before.connection.phase === 'refused' && event.kind === 'woken'
        ? { state: { ...before, wakeAt: null }, effects: [] }
        : step(before, event),
  },
  {
    mistake: 'forgets that the token refused the PIN',
    breaks: 'I6',
    told: /the token refused the PIN, and is asked again: destroyGeneration/,
    budget: { ...nothing, faults: 1 },
    machine: hearing((event, before) => [event, { ...before, tokenShut: null }]),
  },
  {
    mistake: 'keeps the old key for an overlap after a breach',
    breaks: 'I7',
    told: /#1 is not on its way out after the breach/,
    budget: { ...nothing, rolls: 1 },
    machine: withState((state, { at }) => ({
      ...state,
      generations: state.generations.map((g) => (g.compromised ? { ...g, retireAt: at + 1_000 } : g)),
    })),
  },
  {
    mistake: 'registers with the old key after a breach',
    breaks: 'I7',
    told: /register uses #1 after the breach/,
    budget: { ...nothing, rolls: 1 },
    machine: withEffects((effects, { generations }) => {
      const breached = generations.find(({ compromised }) => compromised)
      return breached === undefined
        ? effects
        : effects.map((effect) =>
            effect.kind === 'register' ? { ...effect, generation: breached.number } : effect,
          )
    }),
  },
  {
    mistake: 'never destroys the old key after a breach',
    breaks: 'I7',
    told: /from here a key that was breached is never destroyed/,
    budget: { ...nothing, rolls: 1 },
    machine: withEffects((effects) => effects.filter(({ kind }) => kind !== 'destroyGeneration')),
  },
  {
    mistake: 'leaves the old connection open when another takes over',
    breaks: 'I8',
    told: /messages travel on a connection of #1 to hub-a that the machine does not know/,
    budget: { ...nothing, rolls: 1 },
    machine: withEffects((effects) => effects.filter(({ kind }) => kind !== 'closeConnection')),
  },
  {
    mistake: 'closes the connection that takes over along with the old one',
    breaks: 'I8',
    told: /the machine counts on a connection that is closed/,
    budget: { ...nothing, rolls: 1 },
    machine: withEffects((effects, { connection }) =>
      effects.flatMap((effect) =>
        effect.kind === 'closeConnection' && connection.phase === 'connected'
          ? [effect, { ...effect, operation: connection.operation }]
          : [effect],
      ),
    ),
  },
  {
    mistake: 'registers twice at once',
    breaks: 'one registration',
    told: /2 registrations are under way/,
    budget: nothing,
    machine: withEffects((effects) =>
      effects.flatMap<Effect>((effect) =>
        effect.kind === 'register' ? [effect, { ...effect, operation: effect.operation + 1 }] : [effect],
      ),
    ),
  },
  {
    mistake: 'does not hear of a breach while a roll is about to connect',
    breaks: 'a breach is not forgotten',
    told: /a breach roll that was asked for will not begin/,
    budget: { ...nothing, rolls: 2 },
    machine: (before, event) =>
      event.kind === 'rollRequested' && (before.roll.phase === 'proving' || before.roll.phase === 'switching')
        ? { state: before, effects: [] }
        : step(before, event),
  },
  {
    mistake: 'believes in a timer that it has not set',
    breaks: 'the timer',
    told: /the timer is not set as the machine believes/,
    budget: nothing,
    machine: withEffects((effects) => effects.filter(({ kind }) => kind !== 'wakeAt')),
  },
]

/** The machine, where other effects reach the world. */
function withEffects(edit: (effects: readonly Effect[], state: AgentState) => readonly Effect[]): Step {
  return (before, event) => {
    const { state, effects } = step(before, event)
    return { state, effects: edit(effects, state) }
  }
}

/** The machine, where it comes to another state. */
function withState(edit: (state: AgentState, event: AgentEvent) => AgentState): Step {
  return (before, event) => {
    const { state, effects } = step(before, event)
    return { state: edit(state, event), effects }
  }
}

/** The machine, where it takes an event or the state before it for another. */
function hearing(mistake: (event: AgentEvent, before: AgentState) => [AgentEvent, AgentState]): Step {
  return (before, event) => {
    const [heard, believed] = mistake(event, before)
    return step(believed, heard)
  }
}
