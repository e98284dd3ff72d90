import { describe, expect, it } from 'vitest'
import { DeviceAgent } from 'leafkeeper'
import { createWorld, hubThumbprint, next } from '../support/world.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

describe('D4: in a group whose authorities did not change, the new leaf is recognised', () => {
  it('by DPS always: it writes the new thumbprint when the device registers', async () => {
    const world = await createWorld({ groupAuthentication: 'selfSigned' })
    world.cloud.dps.groups.put({ enrollmentGroupId: 'g', attestation: { primary: world.root.certificate } })
    const agent = await world.startAgent('device-d4a')
    await agent.connected()
    const report = await agent.roll()
    expect(hubThumbprint(world.cloud, agent)).toBe(report.newThumbprint)
    expect(agent.status().connection).toBe('connected')
  })

  it('by the hub, where its record authenticates by authority: no registration is needed', async () => {
    const world = await createWorld({ groupAuthentication: 'certificateAuthority' })
    const intermediate = await world.root.createIntermediate({ commonName: 'factory' })
    world.issue = async ({ csr }) => (await intermediate.issueLeaf({ csr })).chain
    world.cloud.dps.groups.put({ enrollmentGroupId: 'g', attestation: { primary: intermediate.certificate } })
    for (const hub of world.cloud.hubs) hub.trustedAuthorities.add(world.root.certificate)
    const stateFolder = await temporaryFolder()
    const agent = await world.startAgent('device-d4b', { stateFolder })
    await agent.connected()
    await agent.roll()
    const registrations = world.cloud.dps.attempts.length

    // The same device without DPS: the hub recognises the next leaf by its chain alone.
    const { assignment } = agent.state
    await agent.stop()
    const { provisioning: _none, ...withoutDps } = world.agentOptions('device-d4b', { stateFolder })
    const alone = await DeviceAgent.start({ ...withoutDps, ...(assignment === null ? {} : { assignment }) })
    try {
      await alone.connected()
      const report = await alone.roll()
      expect(report.newThumbprint).not.toBe(report.oldThumbprint)
      expect(alone.status().connection).toBe('connected')
      expect(world.cloud.dps.attempts).toHaveLength(registrations)
    } finally {
      await alone.stop()
    }
  })

  it('not by the hub where its record has a thumbprint: refused until the device has registered again', async () => {
    const world = await createWorld({ groupAuthentication: 'selfSigned' })
    world.cloud.dps.groups.put({ enrollmentGroupId: 'g', attestation: { primary: world.root.certificate } })
    const agent = await world.startAgent('device-d4c')
    await agent.connected()
    const { assignment } = agent.state
    await agent.stop()

    // Without DPS the new leaf is staged, refused by the hub, and the old one goes on.
    const { provisioning: _none, ...withoutDps } = world.agentOptions('device-d4c')
    const alone = await DeviceAgent.start({ ...withoutDps, ...(assignment === null ? {} : { assignment }) })
    await alone.connected()
    const refused = next(alone, 'unauthorized')
    const rolled = alone.roll()
    const stopped = expect(rolled).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
    await refused
    expect(alone.status()).toMatchObject({ connection: 'connected', active: { generation: 1 } })
    await alone.stop()
    await stopped

    // With DPS it registers, and the hub has the new thumbprint.
    const again = await world.startAgent('device-d4c')
    await again.connected()
    if (again.status().active?.generation === 1)
      await next(again, 'connected', ({ generation }) => generation !== 1)
    expect(hubThumbprint(world.cloud, again)).toBe(again.status().active?.thumbprint)
  })
})
