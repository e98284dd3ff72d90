import type { Failure, Occurrence } from '../../src/agent/events.ts'
import type { Assignment, ErrorCode } from '../../src/agent/states.ts'
import { has, plus } from './generation-set.ts'
import { hasKey, holdingOf, isCertified, withHolding, type Holding } from './token.ts'
import { flightOf, type Flight, type Task, type World } from './world.ts'

/** What a task can end in: the world after its work, and the event the agent hears; `null` while it hears nothing. */
export interface TaskOutcome {
  readonly what: string
  readonly world: World
  readonly event: Occurrence | null
}

type TaskOf<Kind extends Task['kind']> = Extract<Task, { readonly kind: Kind }>

/** How hubs and DPS know the device. */
export interface Cloud {
  readonly dps: boolean
  /** Whether a hub takes any certificate of the right authority, instead of the one thumbprint of its record. */
  readonly byAuthority: boolean
}

/** The work of a task as the world does it where nothing goes wrong, with what the agent then hears. */
export function doneBy(cloud: Cloud, world: World, flight: Flight): readonly TaskOutcome[] {
  const { task } = flight
  const { operation, generation } = task
  const name = `#${generation}`
  switch (task.kind) {
    case 'generateKey':
      return [
        {
          what: `the token makes the key of ${name}`,
          world: afterWork(cloud, world, task),
          event: { kind: 'keyGenerated', operation, generation, keyId: '' },
        },
      ]
    case 'storeCertificate':
      if (!hasKey(world.token, generation))
        return [refused(world, task, 'HSM_KEY_NOT_FOUND', 'the token has no key for')]
      return [
        {
          what: `the token takes the certificate of ${name}`,
          world: afterWork(cloud, world, task),
          event: { kind: 'certificateStored', operation },
        },
      ]
    case 'destroyGeneration':
      return [
        {
          what: `the token destroys ${name}`,
          world: afterWork(cloud, world, task),
          event: { kind: 'generationDestroyed', operation },
        },
      ]
    case 'requestCertificate':
      if (!hasKey(world.token, generation))
        return [refused(world, task, 'HSM_KEY_NOT_FOUND', 'the token has no key for')]
      return [
        { what: `the issuer certifies ${name}`, world, event: issued(task) },
        {
          what: `the issuer asks for patience with ${name}`,
          world,
          event: { kind: 'certificatePending', operation, ticket: 'ticket', retryAfterMs: 0 },
        },
      ]
    case 'register':
      return [registers(cloud, world, flight, task)]
    case 'connectHub':
      return [connects(cloud, world, task)]
  }
}

/** The token, the records and the sessions after a task was carried out. */
export function afterWork(cloud: Cloud, world: World, task: Task): World {
  const { generation } = task
  switch (task.kind) {
    case 'generateKey':
      return hasKey(world.token, generation) ? world : holding(world, generation, 'key')
    case 'storeCertificate':
      return hasKey(world.token, generation)
        ? holding(world, generation, task.chain === misnamed ? 'misnamed' : 'certified')
        : world
    case 'destroyGeneration':
      return holding(world, generation, 'nothing')
    case 'requestCertificate':
      return world
    case 'register':
      return dpsAccepts(world, generation) ? { ...world, record: { hub: world.assigns, generation } } : world
    case 'connectHub': {
      const { hub } = task.assignment
      if (!hubAccepts(cloud, world, hub, generation)) return world
      // One session for each device: the new one takes over.
      const others = world.open.map((one) => (one.hub === hub ? { ...one, alive: false } : one))
      return { ...world, open: others, accepted: plus(world.accepted, generation) }
    }
  }
}

/** A generation whose destruction, or making, was cut off. */
export function halfDone(world: World, task: Task): World {
  const isThere = holdingOf(world.token, task.generation) !== 'nothing'
  if (task.kind === 'destroyGeneration' && isThere) return holding(world, task.generation, 'remains')
  if (task.kind === 'generateKey' && !isThere) return holding(world, task.generation, 'remains')
  return world
}

export function dpsAccepts(world: World, generation: number): boolean {
  return isCertified(world.token, generation) && world.enrollmentEnabled && has(world.enrolled, generation)
}

export function hubAccepts(cloud: Cloud, world: World, hub: string, generation: number): boolean {
  if (!isCertified(world.token, generation)) return false
  if (!cloud.dps) return has(world.enrolled, generation)
  if (world.record?.hub !== hub) return false
  return cloud.byAuthority || world.record.generation === generation
}

function registers(cloud: Cloud, world: World, flight: Flight, task: TaskOf<'register'>): TaskOutcome {
  const { operation, generation } = task
  const name = `#${generation}`
  if (flight.registeredAt !== null)
    return {
      what: `the answer of DPS about ${name} arrives`,
      world,
      event: { kind: 'registered', operation, assignment: assignmentTo(flight.registeredAt) },
    }
  if (!isCertified(world.token, generation))
    return refused(world, task, 'TLS_KEY_UNUSABLE', 'OpenSSL cannot use')
  if (!dpsAccepts(world, generation)) return refused(world, task, 'DPS_UNAUTHORIZED', 'DPS refuses')
  const worked = afterWork(cloud, world, task)
  if (sameRecord(world, worked))
    return {
      what: `DPS accepts ${name}`,
      world,
      event: { kind: 'registered', operation, assignment: assignmentTo(world.assigns) },
    }
  // The hub learns of it before the agent does.
  const flights = [...worked.flights, flightOf(task, world.assigns)]
  return {
    what: `DPS accepts ${name} and rewrites the hub's record`,
    world: { ...worked, flights },
    event: null,
  }
}

function connects(cloud: Cloud, world: World, task: TaskOf<'connectHub'>): TaskOutcome {
  const { operation, generation, assignment } = task
  const { hub } = assignment
  if (!isCertified(world.token, generation))
    return refused(world, task, 'TLS_KEY_UNUSABLE', 'OpenSSL cannot use')
  if (!hubAccepts(cloud, world, hub, generation))
    return refused(world, task, 'HUB_UNAUTHORIZED', `${hub} refuses`)
  const worked = afterWork(cloud, world, task)
  return {
    what: `${hub} accepts #${generation}`,
    world: { ...worked, open: [...worked.open, { operation, generation, hub, alive: true }] },
    event: { kind: 'hubConnected', operation },
  }
}

function sameRecord({ record: one }: World, { record: other }: World): boolean {
  return one?.hub === other?.hub && one?.generation === other?.generation
}

export function assignmentTo(hub: string): Assignment {
  return { hub, deviceId: 'gateway-7' }
}

/** The name that a wrong certificate carries. */
export const misnamed = 'another'

/** What an issuer answers that certifies the request under a name. */
export function issued({ operation }: TaskOf<'requestCertificate'>, commonName = 'gateway-7'): Occurrence {
  const certificate = { commonName, thumbprint: '', notBefore: 0, notAfter: 0 }
  return { kind: 'certificateIssued', operation, chain: commonName, certificate }
}

/** A task that fails for good. */
export function refused(world: World, task: Task, code: ErrorCode, who: string): TaskOutcome {
  return { what: `${who} #${task.generation}`, world, event: failed(task, { code, retryable: false }) }
}

/** A task that may be tried again. */
export function failedForNow(world: World, task: Task, code: ErrorCode, what: string): TaskOutcome {
  return { what, world, event: failed(task, { code, retryable: true }) }
}

function failed({ operation }: Task, failure: Omit<Failure, 'retryAfterMs'>): Occurrence {
  return { kind: 'operationFailed', operation, failure: { ...failure, retryAfterMs: null } }
}

function holding(world: World, generation: number, held: Holding): World {
  return { ...world, token: withHolding(world.token, generation, held) }
}
