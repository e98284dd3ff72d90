import { describe, expect, it } from 'vitest'
import { createEnrollingWorld, createWorld, hubThumbprint, rollPhase } from '../support/world.ts'

describe('R2: while old and new are both valid, a direct method tells the device to register again', () => {
  it('registers with the present leaf and stays connected', async () => {
    const world = await createEnrollingWorld('device-r2')
    const { cloud } = world
    const agent = await world.startAgent('device-r2')
    await agent.connected()
    const before = agent.state.connection
    const registered = cloud.waitFor('registration')
    const hub = cloud.hub(agent.state.assignment?.hub ?? '')
    const answer = await hub.invokeMethod('device-r2', { methodName: 'reprovision' })
    expect(answer).toEqual({ status: 200, payload: { accepted: true } })
    expect((await registered).substatus).toBe('reprovisionedToInitialAssignment')
    await agent.send({ body: 'same connection' })
    expect(agent.state.connection).toMatchObject({ operation: 'operation' in before ? before.operation : -1 })
  })

  it('moves to a staged leaf once the enrollment has it', async () => {
    const world = await createWorld()
    const { cloud, issue } = world
    world.issue = async (request) => {
      const chain = await issue(request)
      if (world.issued.length === 1) world.enroll('device-r2b', world.leaf(0))
      return chain
    }
    const agent = await world.startAgent('device-r2b')
    await agent.connected()
    const rolled = agent.roll()
    await rollPhase(agent, 'proving')
    await rollPhase(agent, 'staged')

    // Old as primary, new as secondary; then the method.
    world.enroll('device-r2b', world.leaf(0), world.leaf(1))
    const hub = cloud.hub(agent.state.assignment?.hub ?? '')
    await hub.invokeMethod('device-r2b', { methodName: 'reprovision' })
    const report = await rolled
    expect(report.newThumbprint).toBe(world.leaf(1).thumbprint)
    expect(hubThumbprint(cloud, agent)).toBe(world.leaf(1).thumbprint)
  })

  it('rolls on rollCertificate, and tells how it stands on getCertificateStatus', async () => {
    const world = await createEnrollingWorld('device-r2c')
    const { cloud } = world
    const agent = await world.startAgent('device-r2c')
    await agent.connected()
    const hub = cloud.hub(agent.state.assignment?.hub ?? '')
    const call = (methodName: string, payload?: unknown): Promise<unknown> =>
      hub.invokeMethod('device-r2c', payload === undefined ? { methodName } : { methodName, payload })

    await expect(call('rollCertificate', { mode: 'sideways' })).resolves.toMatchObject({ status: 400 })
    const retiring = rollPhase(agent, 'retiring')
    await expect(call('rollCertificate', { mode: 'expiry' })).resolves.toMatchObject({ status: 200 })
    await retiring
    await agent.connected()
    await expect(call('getCertificateStatus')).resolves.toMatchObject({
      status: 200,
      payload: {
        connection: 'connected',
        certificate: { commonName: 'device-r2c', generation: 2, thumbprint: world.leaf(1).thumbprint },
      },
    })
    await expect(call('noSuchMethod')).resolves.toMatchObject({ status: 404 })
  })

  it('follows DPS to another hub', async () => {
    const world = await createEnrollingWorld('device-r2d')
    const { cloud } = world
    const agent = await world.startAgent('device-r2d')
    await agent.connected()
    const first = agent.state.assignment?.hub ?? ''
    const other = cloud.hubs.find(({ hostName }) => hostName !== first)?.hostName ?? ''
    cloud.dps.enrollments.put({
      registrationId: 'device-r2d',
      attestation: { primary: world.leaf(0).certificate },
      iotHubHostName: other,
    })
    const moved = cloud.waitFor('deviceConnected', ({ hub }) => hub === other)
    await cloud.hub(first).invokeMethod('device-r2d', { methodName: 'reprovision' })
    await moved
    await agent.connected()
    await agent.send({ body: 'from the other hub' })
    expect(cloud.hub(other).messages).toHaveLength(1)
    expect(agent.state.assignment?.hub).toBe(other)
  })
})
