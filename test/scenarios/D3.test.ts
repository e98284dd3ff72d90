import { describe, expect, it } from 'vitest'
import { createWorld, hubThumbprint, next, receivedBodies, rollPhase } from '../support/world.ts'

describe('D3: the hub knows only the old leaf until the enrollment is updated and the device reprovisions', () => {
  it('stays on the old leaf while the new one is refused, and moves when the enrollment has it', async () => {
    const world = await createWorld()
    const { cloud, issue } = world
    // The first leaf goes into the enrollment, the second one does not yet.
    world.issue = async (request) => {
      const chain = await issue(request)
      if (world.issued.length === 1) world.enroll('device-d3', world.leaf(0))
      return chain
    }
    const agent = await world.startAgent('device-d3')
    await agent.connected()
    const hub = cloud.hub(agent.state.assignment?.hub ?? '')

    const refused = next(agent, 'problem', ({ error }) => error.code === 'DPS_UNAUTHORIZED')
    const rolled = agent.roll()
    const [{ error }] = await refused
    expect(error.message).toContain('enrollment')
    await rollPhase(agent, 'staged')
    expect(agent.status()).toMatchObject({
      connection: 'connected',
      roll: 'staged',
      active: { generation: 1 },
    })
    expect(hubThumbprint(cloud, agent)).toBe(world.leaf(0).thumbprint)
    await agent.send({ body: 'on the old leaf' })

    // The owner deletes the old certificate, puts the new one, and deletes the hub's registration: unauthorized.
    const unauthorized = next(agent, 'unauthorized')
    const hubRefused = cloud.waitFor('connectRefused')
    world.enroll('device-d3', world.leaf(1))
    hub.registry.delete('device-d3')
    expect((await hubRefused).code).toBe(5)
    expect((await unauthorized)[0].code).toBe('HUB_UNAUTHORIZED')

    // By itself: DPS refuses the old leaf, accepts the new one, and updates the hub.
    const report = await rolled
    expect(report.newThumbprint).toBe(world.leaf(1).thumbprint)
    await agent.connected()
    expect(hubThumbprint(cloud, agent)).toBe(world.leaf(1).thumbprint)
    await agent.send({ body: 'on the new leaf' })
    expect([...receivedBodies(cloud, 'device-d3')]).toEqual(['on the old leaf', 'on the new leaf'])
  })
})
