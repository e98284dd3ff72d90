import type { Effect } from '../../src/agent/effects.ts'
import type { AgentState } from '../../src/agent/states.ts'
import type { AgentModel, Reaction } from './agent-model.ts'
import type { Check, Finding } from './explorer.ts'
import { countOf, has, noGenerations, numbersIn } from './generation-set.ts'
import type { Happening } from './happenings.ts'
import { now } from './normal-form.ts'
import { completesBreach, remembersRequest } from './process.ts'
import { hasKey, holdingOf, onToken } from './token.ts'
import type { World } from './world.ts'

/** What a rule is held against: a world, how it came to it, and what the machine believes in it. */
interface Case {
  readonly before: World | null
  readonly world: World
  readonly state: AgentState
  readonly stateBefore: AgentState | null
  readonly reactions: readonly Reaction[]
  readonly commonName: string
}

/** Says what is wrong; `null` that nothing is. */
type Rule = (it: Case) => string | null

/** The invariants of the design that can be seen in one world, or in one step to it. I5, and the end of I7, are in `exploration.ts`. */
const rules: readonly (readonly [name: string, rule: Rule])[] = [
  ['I1', activeIsComplete],
  ['I2', activeWasAccepted],
  ['I3', fewGenerations],
  ['I4', sameCommonName],
  ['I6', refusedPinIsLeftAlone],
  ['I7', burntKeysLeave],
  ['I8', connectionCarriesMessages],
  ['one registration', oneRegistration],
  ['a breach is not forgotten', breachIsRemembered],
  ['the timer', timerIsKnown],
]

/** The names of the rules. */
export const rulesOfOneStep: readonly string[] = rules.map(([name]) => name)

/** Holds every happening against all rules. */
export function invariants(agents: AgentModel): Check {
  return (before: World | null, { raw: world, reactions }: Happening) => {
    const state = agents.state(world.agent)
    const stateBefore = before === null ? null : agents.state(before.agent)
    const it: Case = { before, world, state, stateBefore, reactions, commonName: agents.commonName }
    let findings = nothingFound
    for (const [rule, holds] of rules) {
      const what = holds(it)
      if (what !== null) findings = [...findings, { rule, what }]
    }
    return findings
  }
}

const nothingFound: readonly Finding[] = []

function activeIsComplete({ world, state: { active } }: Case): string | null {
  if (active === null || holdingOf(world.token, active) === 'certified') return null
  return `the active generation #${active} is not on the token with key and certificate`
}

function activeWasAccepted({ world, state: { active } }: Case): string | null {
  if (active === null || has(world.accepted, active)) return null
  return `the pointer moved to #${active}, which no hub has accepted`
}

function fewGenerations({ before, world, state, stateBefore }: Case): string | null {
  const count = countOf(onToken(world.token))
  // A crash may do work of a breach roll that a lost journal no longer speaks of.
  const most = [state, stateBefore].some((each) => each !== null && rollsForBreach(each)) ? 3 : 2
  const grew = before === null || count > countOf(onToken(before.token))
  return count > most && grew ? `there are ${count} generations on the token, ${most} are allowed` : null
}

function rollsForBreach({ roll }: AgentState): boolean {
  return 'plan' in roll && roll.plan.mode === 'breach'
}

function sameCommonName({ world, state, commonName }: Case): string | null {
  const wrong = state.generations.find(
    (g) => g.certificate !== null && g.certificate.commonName !== commonName,
  )
  if (wrong !== undefined) return `#${wrong.number} has a certificate for another name`
  const misnamed = numbersIn(onToken(world.token)).find(
    (number) => holdingOf(world.token, number) === 'misnamed',
  )
  return misnamed === undefined ? null : `the token holds a certificate for another name as #${misnamed}`
}

/** Every use of a key needs a login where the session was lost, and every wrong PIN counts towards a lock. */
function refusedPinIsLeftAlone({ world, reactions }: Case): string | null {
  if (!world.pinRefused) return null
  const effect = reactions.flatMap(({ effects }) => effects).find(usesToken)
  return effect === undefined ? null : `the token refused the PIN, and is asked again: ${effect.kind}`
}

function usesToken(effect: Effect): boolean {
  return 'generation' in effect
}

function burntKeysLeave({ before, world, state, reactions }: Case): string | null {
  const used = useOfBurnt(before, world, reactions)
  if (used !== undefined) return `${used.kind} uses #${used.generation} after the breach`
  const { burnt, token } = world
  if (state.active !== null && has(burnt, state.active)) return `#${state.active} is active after the breach`
  const kept = numbersIn(burnt).find((number) => {
    const known = state.generations.find((g) => g.number === number)
    const leaves = known !== undefined && known.retireAt !== null && known.retireAt <= now
    return hasKey(token, number) && !leaves
  })
  return kept === undefined ? null : `#${kept} is not on its way out after the breach`
}

/** The first effect that shows a burnt key to somebody; what was begun before the breach roll was complete is none. */
function useOfBurnt(before: World | null, world: World, reactions: readonly Reaction[]): Showing | undefined {
  // What a lost journal let be forgotten, nobody can hold against the machine.
  let burnt = before === null ? noGenerations : before.burnt & world.burnt
  for (const reaction of reactions) {
    if (completesBreach(reaction)) burnt = world.burnt
    const used = reaction.effects.filter(shows).find(({ generation }) => has(burnt, generation))
    if (used !== undefined) return used
  }
  return undefined
}

type Showing = Extract<Effect, { kind: 'register' | 'connectHub' | 'prepareHub' }>

function shows(effect: Effect): effect is Showing {
  return effect.kind === 'register' || effect.kind === 'connectHub' || effect.kind === 'prepareHub'
}

/**
 * What the machine does for messages is to hand connections over: the outbox sends on the newest one that a hub has
 * accepted, counts a message as delivered when the hub on it says so, and sends what is left over on the next one when it
 * ends. So no message is lost silently as long as the connection that carries messages is always the one the machine
 * knows and replaces when it ends: one that it does not know would end unnoticed with all that is on its way, and one
 * that it closed but still counts on would never be replaced.
 */
function connectionCarriesMessages({ world, state: { connection } }: Case): string | null {
  const known = connection.phase === 'connected' ? connection.operation : null
  const stray = world.open.find(({ operation }) => operation !== known)
  if (stray !== undefined)
    return `messages travel on a connection of #${stray.generation} to ${stray.hub} that the machine does not know`
  if (known !== null && !world.open.some(({ operation }) => operation === known))
    return 'the machine counts on a connection that is closed, so that messages wait for ever'
  return null
}

function oneRegistration({ world: { flights } }: Case): string | null {
  const count = flights.filter(({ task }) => task.kind === 'register').length
  return count > 1 ? `${count} registrations are under way` : null
}

function breachIsRemembered({ world, state: { roll } }: Case): string | null {
  if (!world.breachOwed) return null
  return remembersRequest(roll) ? null : 'a breach roll that was asked for will not begin'
}

function timerIsKnown({ reactions }: Case): string | null {
  for (const { before, event, after, effects } of reactions) {
    const set = effects.findLast((effect) => effect.kind === 'wakeAt')
    const consumed = event.kind === 'woken' || event.kind === 'started'
    const timer = set === undefined ? (consumed ? null : before.wakeAt) : set.at
    if ((timer === null) !== (after.wakeAt === null)) return 'the timer is not set as the machine believes'
  }
  return null
}
