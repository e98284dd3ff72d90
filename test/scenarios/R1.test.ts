import { hubOverMqtt } from 'leafkeeper'
import { expect, it } from 'vitest'
import { scenario } from '../support/scenario.ts'
import { SeverableNetwork } from '../support/severable-network.ts'
import { next, quickPolicy } from '../support/world.ts'

scenario('R1: on unauthorized, the device goes back through DPS by itself', (createAzure) => {
  it('comes back after the hub has lost its record, and delivers what was sent meanwhile', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-r1')
    const pipeline = await azure.enrolling(registrationId)
    const agent = await azure.startAgent(registrationId, pipeline)
    await agent.connected()
    let registrations = 0
    agent.on('registered', () => (registrations += 1))

    const unauthorized = next(agent, 'unauthorized')
    const again = next(agent, 'connected')
    await azure.deleteHubDevice(registrationId)
    const bodies = [1, 2, 3].map((n) => `while away ${n}`)
    const sent = bodies.map((body) => agent.send({ body }))
    await unauthorized
    await again
    await Promise.all(sent)
    expect(registrations).toBe(1)
    expect(await azure.hubThumbprint(registrationId)).toBe(pipeline.leaves[0]?.thumbprint)
    expect(azure.lost(registrationId, bodies)).toEqual([])
  })

  it('does not go to DPS when only the network fails', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-r1b')
    const { connectTo } = azure.network
    const network = await SeverableNetwork.open(connectTo?.['*.azure-devices.net'] ?? `${azure.hub}:8883`)
    const agent = await azure.startAgent(registrationId, await azure.enrolling(registrationId), {
      hub: hubOverMqtt({
        ...azure.network,
        connectTo: { ...connectTo, '*.azure-devices.net': network.address },
      }),
    })
    await agent.connected()
    const provisioning: string[] = []
    agent.on('transition', ({ to }) => {
      if (to === 'provisioning') provisioning.push(to)
    })

    const failed = next(agent, 'problem', ({ during }) => during === 'connectHub')
    await network.sever()
    expect((await failed)[0].error.code).toBe('NETWORK_UNREACHABLE')
    const back = next(agent, 'connected')
    await network.restore()
    await back
    const again = next(agent, 'connected')
    network.drop()
    await again
    expect(provisioning).toEqual([])
  })

  it('says so, keeps its key and asks again when DPS refuses too', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-r1c')
    const pipeline = await azure.enrolling(registrationId)
    const agent = await azure.startAgent(registrationId, pipeline, {
      policy: { ...quickPolicy, refusal: { baseMs: 50, capMs: 50 } },
    })
    await agent.connected()
    await azure.deleteIndividual(registrationId)
    const refused = next(agent, 'transition', ({ to }) => to === 'refused')
    await azure.deleteHubDevice(registrationId)
    await refused
    expect(agent.status().lastError?.code).toBe('DPS_UNAUTHORIZED')
    expect(agent.status().generations).toEqual([1])

    const again = next(agent, 'connected')
    await azure.putIndividual({ registrationId, primary: pipeline.leaves[0] })
    await again
  })
})
