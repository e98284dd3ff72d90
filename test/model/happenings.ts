import type { Assignment } from '../../src/agent/states.ts'
import type { AgentModel, Reaction } from './agent-model.ts'
import { canonical } from './canonical.ts'
import { deadlinesAhead, nameOf, onDiskWhenItHasCome, whenAllHasCome, whenItHasCome } from './deadlines.ts'
import { has, minus, noGenerations, numbersIn, plus } from './generation-set.ts'
import { now } from './normal-form.ts'
import { Process } from './process.ts'
import type { Renumbering } from './numbering.ts'
import {
  afterWork,
  doneBy,
  failedForNow,
  halfDone,
  hubAccepts,
  issued,
  misnamed,
  refused,
  type Cloud,
  type TaskOutcome,
} from './task-outcomes.ts'
import { emptyToken, isCertified, onToken } from './token.ts'
import { isOnToken, type Flight, type Task, type World } from './world.ts'

/** What has to be spent for something to happen; `free` is what a world does that is kind. */
export type Price = 'free' | 'roll' | 'crash' | 'fault' | 'crash and fault'

/** One thing that can happen in a world, and what comes of it. */
export interface Happening {
  /** In words; `#2` is generation 2 of the world it happens in. */
  readonly what: string
  /** The canonical world afterwards. */
  readonly world: World
  /** What generations of the world before are called now; `null` where none has another number. */
  readonly numbers: Renumbering | null
  readonly reactions: readonly Reaction[]
  /** The same world before its generations were numbered anew, so with the numbers of the reactions. */
  readonly raw: World
  /** Whether it goes on happening when the faults have stopped and the operator has done what is needed. */
  readonly kind: boolean
}

/** A device and its cloud, before anything has happened. */
export interface WorldOptions {
  readonly agents: AgentModel
  readonly cloud: Cloud
  readonly hubs: readonly [string, string]
}

/** Everything that can happen. */
export class Happenings {
  readonly #agents: AgentModel
  readonly #cloud: Cloud
  readonly #hubs: readonly [string, string]
  readonly #process: Process

  constructor({ agents, cloud, hubs }: WorldOptions) {
    this.#agents = agents
    this.#cloud = cloud
    this.#hubs = hubs
    const fixedAssignment: Assignment | null = cloud.dps ? null : { hub: hubs[0], deviceId: 'gateway-7' }
    this.#process = new Process({ agents, fixedAssignment })
  }

  /** A new device: an empty token, no journal, no enrollment. */
  begin(): Happening {
    const empty: World = {
      agent: this.#agents.initial,
      journal: null,
      disk: 'writable',
      flights: [],
      token: emptyToken,
      enrolled: noGenerations,
      enrollmentEnabled: true,
      assigns: this.#hubs[0],
      record: null,
      open: [],
      accepted: noGenerations,
      burnt: noGenerations,
      pinRefused: false,
      breachOwed: false,
    }
    return this.#became('a new device starts with an empty token', this.#process.restart(empty))
  }

  /** Everything that can happen at a price. */
  *at(price: Price, world: World): Iterable<Happening> {
    switch (price) {
      case 'free':
        yield* this.#results(world)
        yield* this.#time(world)
        yield* this.#sessions(world)
        yield* this.#operator(world)
        break
      case 'roll':
        yield* this.#rolls(world)
        break
      case 'crash':
        yield* this.#crashes(world, false)
        break
      case 'crash and fault':
        yield* this.#crashes(world, true)
        break
      case 'fault':
        yield* this.#failures(world)
        yield* this.#troubles(world)
        break
    }
  }

  /** What was begun is done. Work on the token is done in its order, one after the other. */
  *#results(world: World): Iterable<Happening> {
    for (const flight of underWay(world))
      for (const outcome of doneBy(this.#cloud, without(world, flight), flight))
        yield this.#heard(outcome, outcome.event?.kind !== 'certificatePending')
  }

  /** A deadline comes; then the timer rings, or something else happens first. */
  *#time(world: World): Iterable<Happening> {
    const state = this.#agents.state(world.agent)
    if (state.wakeAt !== null && state.wakeAt <= now) {
      yield this.#became('the timer rings', this.#process.tell(world, { kind: 'woken' }))
      return
    }
    for (const deadline of deadlinesAhead(state))
      yield this.#became(`the time ${nameOf(deadline)} has passed`, {
        world: {
          ...world,
          agent: whenItHasCome(this.#agents, world.agent, deadline),
          journal: world.journal === null ? null : onDiskWhenItHasCome(this.#agents, world.journal, deadline),
        },
        reactions: [],
      })
  }

  *#sessions(world: World): Iterable<Happening> {
    for (const one of world.open) {
      const { hub, generation, alive } = one
      if (alive && hubAccepts(this.#cloud, world, hub, generation)) continue
      const what = alive
        ? `${hub} ends the session of #${generation}, which its record does not name`
        : `the session of #${generation} at ${hub} is noticed to have ended`
      yield this.#became(what, this.#ended(world, one), !alive)
    }
  }

  #ended(world: World, ended: World['open'][number]): ReturnType<Process['tell']> {
    return this.#process.tell(
      { ...world, open: world.open.filter((one) => one !== ended) },
      {
        kind: 'hubDisconnected',
        operation: ended.operation,
        failure: { code: 'HUB_CONNECTION_LOST', retryable: true, retryAfterMs: null },
      },
    )
  }

  /** The owner does what the guide asks for, in whatever order, and commands what may be commanded. */
  *#operator(world: World): Iterable<Happening> {
    const { enrolled, token } = world
    const state = this.#agents.state(world.agent)
    const newest = numbersIn(onToken(token)).findLast(
      (number) => isCertified(token, number) && !has(world.burnt, number),
    )
    if (newest !== undefined && !has(enrolled, newest))
      yield this.#became(`the owner enrolls #${newest}`, changed(world, { enrolled: plus(enrolled, newest) }))
    if (newest !== undefined && minus(enrolled, newest) !== noGenerations)
      yield this.#became(
        `the owner enrolls #${newest} and nothing else`,
        changed(world, { enrolled: plus(noGenerations, newest) }),
        false,
      )
    if (!world.enrollmentEnabled)
      yield this.#became('the owner enables the enrollment', changed(world, { enrollmentEnabled: true }))
    if (world.disk === 'full')
      yield this.#became('the disk has room again', this.#process.diskRecovers(world))
    if (!state.reprovisionWanted || state.roll.phase === 'staged')
      yield this.#became(
        'the owner asks for a registration',
        this.#process.tell(world, { kind: 'reprovisionRequested' }),
        false,
      )
    if (world.pinRefused || state.connection.phase === 'halted')
      for (const { what, world: left } of this.#powerLost(world))
        yield this.#became(`the owner corrects the PIN and starts again${what}`, this.#process.restart(left))
  }

  *#rolls(world: World): Iterable<Happening> {
    if (this.#agents.state(world.agent).active === null) return
    for (const mode of ['expiry', 'breach'] as const) {
      const event = { kind: 'rollRequested', mode, keyType: 'EC-P256', requestId: mode } as const
      const what = mode === 'expiry' ? 'a roll is asked for' : 'a roll after a breach is asked for'
      yield this.#became(what, this.#process.tell(world, event), false)
    }
  }

  /**
   * Power is lost. A crash before the record of an event is a crash before that event; one between the record and its
   * effects, or after an effect whose result was not recorded, finds some of the work done.
   */
  *#crashes(world: World, journalLost: boolean): Iterable<Happening> {
    for (const { what, world: left } of this.#powerLost(world)) {
      // Nobody can know any more what was compromised, and hubs have to accept anew what the pointer is to move to.
      const known: World = journalLost
        ? { ...left, burnt: noGenerations, accepted: noGenerations, breachOwed: false }
        : left
      const lost = journalLost ? ' and the journal is lost' : ''
      yield this.#became(
        `CRASH${what}${lost}; the agent starts again`,
        this.#process.restart(known, journalLost),
        false,
      )
    }
  }

  /**
   * What work on the token may have been done when power was lost: any number of tasks in their order, the next one by
   * half. A registration may be done before by itself, and what hubs accept ends with the process.
   */
  *#powerLost(world: World): Iterable<{ what: string; world: World }> {
    const done: string[] = []
    let left = world
    const because = (): string => (done.length === 0 ? '' : ` after the token ${done.join(' and ')}`)
    yield { what: '', world: left }
    for (const { task } of world.flights.filter(isOnToken)) {
      const half = halfDone(left, task)
      if (half !== left)
        yield {
          what: `${because()}${done.length > 0 ? ' and' : ' after the token'} began to ${verbOf(task)}`,
          world: half,
        }
      left = afterWork(this.#cloud, left, task)
      done.push(pastOf(task))
      yield { what: because(), world: left }
    }
  }

  /** What was begun fails, or is done and its answer is lost. */
  *#failures(world: World): Iterable<Happening> {
    for (const flight of underWay(world)) {
      const { task } = flight
      const left = without(world, flight)
      for (const outcome of failuresOf(this.#cloud, left, flight)) yield this.#heard(outcome, false)
      if (flight.registeredAt === null) {
        const locked = refused(
          { ...left, pinRefused: true },
          task,
          'HSM_PIN_INCORRECT',
          'the token refuses the PIN for',
        )
        yield this.#heard(locked, false)
      }
    }
  }

  /** What comes from outside: the network, the cloud, the disk, the clock. */
  *#troubles(world: World): Iterable<Happening> {
    for (const one of world.open)
      if (one.alive) yield this.#became(`the connection to ${one.hub} drops`, this.#ended(world, one), false)
    if (this.#cloud.dps) {
      if (world.enrollmentEnabled)
        yield this.#became('the enrollment is disabled', changed(world, { enrollmentEnabled: false }), false)
      if (world.record !== null)
        yield this.#became('the hub loses the record of the device', changed(world, { record: null }), false)
      const [one, other] = this.#hubs
      const assigns = world.assigns === one ? other : one
      yield this.#became(`DPS is told to assign ${assigns}`, changed(world, { assigns }), false)
    }
    if (world.disk === 'writable')
      yield this.#became('the disk is full', changed(world, { disk: 'full' }), false)
    const state = this.#agents.state(world.agent)
    if (deadlinesAhead(state).length > 1)
      yield this.#became(
        'the clock jumps ten years ahead',
        changed(world, {
          agent: whenAllHasCome(this.#agents, world.agent),
          journal: world.journal === null ? null : whenAllHasCome(this.#agents, world.journal),
        }),
        false,
      )
    if (state.wakeAt !== null)
      yield this.#became(
        'the clock is set back by ten years, and the timer rings',
        this.#process.tell(world, { kind: 'woken' }, now - tenYears),
        false,
      )
  }

  #heard({ what, world, event }: TaskOutcome, kind: boolean): Happening {
    return this.#became(
      what,
      event === null ? { world, reactions: [] } : this.#process.tell(world, event),
      kind,
    )
  }

  #became(what: string, outcome: { world: World; reactions: readonly Reaction[] }, kind = true): Happening {
    const { world, numbers } = canonical(this.#agents, outcome.world)
    return { what, world, numbers, reactions: outcome.reactions, raw: outcome.world, kind }
  }
}

const tenYears = 10 * 365 * 24 * 60 * 60 * 1_000

function changed(world: World, part: Partial<World>): { world: World; reactions: readonly Reaction[] } {
  return { world: { ...world, ...part }, reactions: [] }
}

/** What can end next: the first work on the token, and everything else. */
function underWay({ flights }: World): readonly Flight[] {
  const first = flights.find(isOnToken)
  return flights.filter((flight) => flight === first || !isOnToken(flight))
}

function without(world: World, flight: Flight): World {
  return { ...world, flights: world.flights.filter((one) => one !== flight) }
}

function verbOf({ kind, generation }: Task): string {
  const verbs: Partial<Record<Task['kind'], string>> = {
    generateKey: 'make the key of',
    storeCertificate: 'store the certificate of',
    destroyGeneration: 'destroy',
  }
  return `${verbs[kind] ?? kind} #${generation}`
}

function pastOf({ kind, generation }: Task): string {
  const verbs: Partial<Record<Task['kind'], string>> = {
    generateKey: 'had made the key of',
    storeCertificate: 'had stored the certificate of',
    destroyGeneration: 'had destroyed',
  }
  return `${verbs[kind] ?? kind} #${generation}`
}

function failuresOf(cloud: Cloud, world: World, { task, registeredAt }: Flight): readonly TaskOutcome[] {
  const name = `#${task.generation}`
  const worked = afterWork(cloud, world, task)
  switch (task.kind) {
    case 'generateKey':
    case 'storeCertificate':
      return [
        failedForNow(world, task, 'HSM_DEVICE_ERROR', `the token fails to ${verbOf(task)}`),
        failedForNow(worked, task, 'HSM_DEVICE_ERROR', `the token ${pastOf(task)}, but its answer is lost`),
        refused(world, task, 'HSM_TOKEN_FULL', 'the token has no room for'),
      ]
    case 'destroyGeneration':
      return [
        failedForNow(world, task, 'HSM_DEVICE_ERROR', `the token fails to ${verbOf(task)}`),
        failedForNow(
          halfDone(world, task),
          task,
          'HSM_DEVICE_ERROR',
          `the token fails halfway to ${verbOf(task)}`,
        ),
        failedForNow(worked, task, 'HSM_DEVICE_ERROR', `the token ${pastOf(task)}, but its answer is lost`),
      ]
    case 'requestCertificate':
      return [
        failedForNow(world, task, 'ISSUER_UNAVAILABLE', `the issuer does not answer for ${name}`),
        refused(world, task, 'ISSUER_REFUSED', 'the issuer refuses, or sends what the checks refuse for'),
        { what: `the issuer certifies ${name} under another name`, world, event: issued(task, misnamed) },
      ]
    case 'register':
      return registeredAt !== null
        ? [failedForNow(world, task, 'NETWORK_TIMEOUT', `the answer of DPS about ${name} is lost`)]
        : [failedForNow(world, task, 'NETWORK_UNREACHABLE', `DPS cannot be reached for ${name}`)]
    case 'connectHub': {
      const { hub } = task.assignment
      const outcomes = [
        failedForNow(world, task, 'NETWORK_UNREACHABLE', `${hub} cannot be reached for ${name}`),
        refused(world, task, 'HUB_UNAUTHORIZED', `${hub} refuses, for no reason,`),
        refused(world, task, 'TLS_KEY_UNUSABLE', 'OpenSSL cannot use the key of'),
      ]
      if (hubAccepts(cloud, world, hub, task.generation))
        outcomes.push(
          failedForNow(worked, task, 'NETWORK_TIMEOUT', `${hub} accepts ${name}, but its answer is lost`),
        )
      return outcomes
    }
  }
}
