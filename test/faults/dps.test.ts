import type { DeviceAgent } from 'leafkeeper'
import type { SimulatedCloud } from 'leafkeeper-sim'
import { describe, expect, it } from 'vitest'
import { soonAgain } from '../support/compromised-device.ts'
import {
  createEnrollingWorld,
  hubThumbprint,
  next,
  receivedBodies,
  rollPhase,
  type World,
} from '../support/world.ts'

const unauthorized = { status: 401, errorCode: 401002, message: 'Unauthorized' }
const notFound = { status: 404, errorCode: 404201, message: 'Not found' }
const conflict = { status: 409, errorCode: 409001, message: 'Conflict' }
const throttled = { status: 429, errorCode: 429001, message: 'Too many requests', retryAfter: 1 }
const failed = (status: number): { status: number; errorCode: number } => ({
  status,
  errorCode: status * 1000 + 1,
})

/** What DPS does to the next registration, and what the device calls it. */
const faults: [what: string, code: string, fail: (dps: SimulatedCloud['dps']) => void][] = [
  ['closes at CONNECT', 'NETWORK_UNREACHABLE', (dps) => dps.dropNext(1, 'connect')],
  ['closes at the request', 'NETWORK_UNREACHABLE', (dps) => dps.dropNext(1, 'request')],
  ['does the work, and its answer is lost', 'NETWORK_UNREACHABLE', (dps) => dps.dropNext(1, 'answer')],
  ['answers 401', 'DPS_UNAUTHORIZED', (dps) => dps.refuseNext(unauthorized)],
  ['answers 404', 'DPS_NOT_FOUND', (dps) => dps.refuseNext(notFound)],
  ['answers 409', 'DPS_REFUSED', (dps) => dps.refuseNext(conflict)],
  ['answers 429 with Retry-After', 'DPS_THROTTLED', (dps) => dps.refuseNext(throttled)],
  ['answers 500', 'DPS_UNAVAILABLE', (dps) => dps.refuseNext(failed(500))],
  ['answers 503, three times', 'DPS_UNAVAILABLE', (dps) => dps.refuseNext(failed(503), 3)],
]

/** A connected device whose enrollment takes every certificate that its authority issues. */
async function connectedDevice(registrationId: string): Promise<{ world: World; agent: DeviceAgent }> {
  const world = await createEnrollingWorld(registrationId)
  const agent = await world.startAgent(registrationId, { policy: soonAgain })
  await agent.connected()
  return { world, agent }
}

/** What the first registration from now on fails with. */
async function registrationFailure(agent: DeviceAgent): Promise<string> {
  const [{ error }] = await next(agent, 'problem', ({ during }) => during === 'register')
  return error.code
}

describe.each(faults)('DPS %s (%s)', (what, code, fail) => {
  const name = what.replace(/\W+/g, '-')

  it('in the middle of a roll: the old connection goes on, and the roll is completed', async () => {
    const { world, agent } = await connectedDevice(`roll-${name}`)
    const failure = registrationFailure(agent)
    fail(world.cloud.dps)
    const rolled = agent.roll()
    expect(await failure).toBe(code)
    await agent.send({ body: 'while the roll waits' })
    const { newThumbprint } = await rolled
    expect(newThumbprint).toBe(world.leaf(1).thumbprint)
    expect(hubThumbprint(world.cloud, agent)).toBe(newThumbprint)
    await agent.send({ body: 'afterwards' })
    expect(receivedBodies(world.cloud, `roll-${name}`).size).toBe(2)
  })

  it('when the hub has forgotten the device: it comes back, with what was sent meanwhile', async () => {
    const { world, agent } = await connectedDevice(`back-${name}`)
    const failure = registrationFailure(agent)
    const disconnected = next(agent, 'disconnected')
    fail(world.cloud.dps)
    world.cloud.hub(agent.state.assignment?.hub ?? '').registry.delete(`back-${name}`)
    await disconnected
    const sent = agent.send({ body: 'meanwhile' })
    expect(await failure).toBe(code)
    await sent
    expect(agent.status()).toMatchObject({ connection: 'connected', generations: [1] })
    expect(receivedBodies(world.cloud, `back-${name}`)).toEqual(new Set(['meanwhile']))
  })
})

it('429: the device is silent for as long as DPS has asked', async () => {
  const { world, agent } = await connectedDevice('device-patient')
  const attempts = world.cloud.dps.attempts.length
  world.cloud.dps.refuseNext(throttled)
  const problem = next(agent, 'problem', ({ during }) => during === 'register')
  agent.reprovision()
  await problem
  const throttledAt = performance.now()
  await world.cloud.waitFor('registration')
  expect(performance.now() - throttledAt).toBeGreaterThanOrEqual(1_000)
  expect(world.cloud.dps.attempts).toHaveLength(attempts + 1)
})

it('everything is unreachable from the middle of a roll on: it is completed afterwards', async () => {
  const { world, agent } = await connectedDevice('roll-unreachable')
  const { issue } = world
  world.issue = async (request) => {
    const chain = await issue(request)
    await world.cloud.pauseListening()
    return chain
  }
  const failure = registrationFailure(agent)
  const rolled = agent.roll()
  expect(await failure).toBe('NETWORK_UNREACHABLE')
  const sent = agent.send({ body: 'nobody is there' })
  await world.cloud.resumeListening()
  expect((await rolled).newThumbprint).toBe(world.leaf(1).thumbprint)
  await sent
})

it('DPS assigns the device to another hub in the middle of a roll: the new leaf is first used there', async () => {
  const { world, agent } = await connectedDevice('roll-moved')
  const { cloud, issue } = world
  const first = agent.state.assignment?.hub
  const other = cloud.hubs.find(({ hostName }) => hostName !== first)?.hostName ?? ''
  world.issue = async (request) => {
    const chain = await issue(request)
    const [primary, secondary] = [world.leaf(1).certificate, world.leaf(0).certificate]
    const attestation = { primary, secondary }
    cloud.dps.enrollments.put({ registrationId: 'roll-moved', attestation, iotHubHostName: other })
    return chain
  }
  const { newThumbprint } = await agent.roll()
  expect(agent.state.assignment?.hub).toBe(other)
  expect(hubThumbprint(cloud, agent)).toBe(newThumbprint)
  await agent.send({ body: 'from the other hub' })
  expect(cloud.hub(other).messages).toHaveLength(1)
})

it('the enrollment is disabled in the middle of a roll: the leaf stays staged until it is enabled again', async () => {
  const { world, agent } = await connectedDevice('roll-disabled')
  const { cloud, issue } = world
  const enroll = (provisioningStatus: 'enabled' | 'disabled'): void => {
    const [primary, secondary] = [world.leaf(1).certificate, world.leaf(0).certificate]
    const attestation = { primary, secondary }
    cloud.dps.enrollments.put({ registrationId: 'roll-disabled', attestation, provisioningStatus })
  }
  world.issue = async (request) => {
    const chain = await issue(request)
    enroll('disabled')
    return chain
  }
  const rolled = agent.roll()
  expect(await registrationFailure(agent)).toBe('DPS_UNAUTHORIZED')
  await rollPhase(agent, 'staged')
  await agent.send({ body: 'with the old leaf' })
  expect(agent.status().active?.thumbprint).toBe(world.leaf(0).thumbprint)
  enroll('enabled')
  expect((await rolled).newThumbprint).toBe(world.leaf(1).thumbprint)
})
