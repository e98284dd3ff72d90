import { describe, expect, it } from 'vitest'
import { createEnrollingWorld, hubThumbprint, next, quickPolicy } from '../support/world.ts'

describe('R1: on unauthorized, the device goes back through DPS by itself', () => {
  it('comes back after the hub has lost its record, and delivers what was sent meanwhile', async () => {
    const world = await createEnrollingWorld('device-r1')
    const { cloud } = world
    const agent = await world.startAgent('device-r1')
    await agent.connected()
    const hub = cloud.hub(agent.state.assignment?.hub ?? '')
    const registrations = cloud.dps.registrationCount('device-r1')

    const unauthorized = next(agent, 'unauthorized')
    const again = next(agent, 'connected')
    hub.registry.delete('device-r1')
    const sent = [1, 2, 3].map((n) => agent.send({ body: `while away ${n}` }))
    await unauthorized
    await again
    await Promise.all(sent)
    expect(cloud.dps.registrationCount('device-r1')).toBe(registrations + 1)
    expect(hubThumbprint(cloud, agent)).toBe(world.leaf(0).thumbprint)
    expect(new Set(hub.messages.map(({ body }) => body.toString())).size).toBe(3)
  })

  it('does not go to DPS when only the network fails', async () => {
    const world = await createEnrollingWorld('device-r1b')
    const { cloud } = world
    const agent = await world.startAgent('device-r1b')
    await agent.connected()
    const attempts = cloud.dps.attempts.length

    const failed = next(agent, 'problem', ({ during }) => during === 'connectHub')
    await cloud.pauseListening()
    expect((await failed)[0].error.code).toBe('NETWORK_UNREACHABLE')
    const again = next(agent, 'connected')
    await cloud.resumeListening()
    await again
    cloud.dropConnections()
    await next(agent, 'connected')
    expect(cloud.dps.attempts).toHaveLength(attempts)
  })

  it('says so, keeps its key and asks again when DPS refuses too', async () => {
    const world = await createEnrollingWorld('device-r1c')
    const { cloud } = world
    const agent = await world.startAgent('device-r1c', {
      policy: { ...quickPolicy, refusal: { baseMs: 50, capMs: 50 } },
    })
    await agent.connected()
    const hub = cloud.hub(agent.state.assignment?.hub ?? '')
    cloud.dps.enrollments.delete('device-r1c')
    const refused = next(agent, 'transition', ({ to }) => to === 'refused')
    hub.registry.delete('device-r1c')
    await refused
    expect(agent.status().lastError?.code).toBe('DPS_UNAUTHORIZED')
    expect(agent.status().generations).toEqual([1])

    const again = next(agent, 'connected')
    world.enroll('device-r1c', world.leaf(0))
    await again
  })
})
