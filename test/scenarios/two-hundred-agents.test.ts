import { describe, expect, it } from 'vitest'
import { createWorld, receivedBodies } from '../support/world.ts'

const count = 200

describe('two hundred agents on one token in one process', () => {
  it('provision, roll and stay connected', { timeout: 240_000 }, async () => {
    const world = await createWorld()
    const { cloud } = world
    cloud.dps.groups.put({ enrollmentGroupId: 'fleet', attestation: { primary: world.root.certificate } })
    const names = Array.from({ length: count }, (_, index) => `fleet-${String(index).padStart(3, '0')}`)

    const agents = await Promise.all(names.map((name) => world.startAgent(name)))
    await Promise.all(agents.map((agent) => agent.connected()))
    expect(new Set(agents.map((agent) => agent.status().active?.thumbprint)).size).toBe(count)

    const reports = await Promise.all(agents.map((agent) => agent.roll()))
    expect(reports.every(({ oldThumbprint, newThumbprint }) => oldThumbprint !== newThumbprint)).toBe(true)

    await Promise.all(agents.map((agent, index) => agent.send({ body: `hello from ${names[index] ?? ''}` })))
    expect(agents.filter((agent) => agent.status().connection === 'connected')).toHaveLength(count)
    for (const name of names) expect([...receivedBodies(cloud, name)]).toEqual([`hello from ${name}`])
    const connected = cloud.hubs.flatMap((hub) => hub.registry.list())
    expect(connected.filter(({ connectionState }) => connectionState === 'Connected')).toHaveLength(count)
    await Promise.all(agents.map((agent) => agent.stop()))
  })
})
