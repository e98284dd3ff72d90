import { describe, expect, it } from 'vitest'
import { hubOverMqtt, openToken, type DeviceId, type Pem } from 'leafkeeper'
import { createEnrollingWorld, receivedBodies, type World } from '../support/world.ts'

describe('R5: after reprovisioning the new certificate connects, and the old one no longer works', () => {
  it.each(['keep-session', 'cut-session'] as const)(
    'with a hub that does %s, and no message lost',
    async (onRecordReplaced) => {
      const device = `device-r5-${onRecordReplaced}`
      const world = await createEnrollingWorld(device, { onRecordReplaced })
      const { cloud } = world
      const agent = await world.startAgent(device)
      await agent.connected()

      // A hundred messages a second while the certificate is rolled.
      const sent: Promise<void>[] = []
      const timer = setInterval(() => sent.push(agent.send({ body: `message ${sent.length}` })), 10)
      await cloud.waitFor('telemetry')
      const report = await agent.roll()
      const { hub = '' } = agent.state.assignment ?? {}
      await cloud.waitFor('telemetry', () => agent.state.connection.phase === 'connected')
      clearInterval(timer)
      await Promise.all(sent)
      expect(receivedBodies(cloud, device).size).toBe(sent.length)
      expect(report.newThumbprint).toBe(world.leaf(1).thumbprint)

      // The old key is still on the token for the overlap, but the hub refuses its certificate.
      const [old] = agent.state.generations
      expect(old?.number).toBe(1)
      await expect(connectAs(world, device, hub, 1)).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
      expect(agent.status().connection).toBe('connected')
    },
  )

  it('destroys the old key at once after a breach', async () => {
    const world = await createEnrollingWorld('device-r5-breach')
    const agent = await world.startAgent('device-r5-breach')
    await agent.connected()
    const [old] = agent.state.generations
    const retired = new Promise<number>((resolve) =>
      agent.once('retired', ({ generation }) => resolve(generation)),
    )
    await agent.roll({ mode: 'breach' })
    expect(await retired).toBe(1)
    expect(world.hsm.objects(old?.keyId ?? 'none')).toEqual([])
  })
})

/** Connects with one generation of a device directly, as a thief of the token would. */
async function connectAs(world: World, device: string, hub: string, generation: number): Promise<void> {
  const { cloud, hsm } = world
  const token = await openToken({
    module: hsm.module,
    token: { label: hsm.label },
    pin: { callback: () => hsm.pin },
  })
  try {
    const keys = token.keyStore(device)
    const stored = (await keys.list()).find(({ number }) => number === generation)
    if (stored?.chain === undefined) throw new Error(`generation ${generation} is not on the token`)
    const chain: Pem = stored.chain
    const keyUri = keys.keyUri(stored.keyId)
    const transport = hubOverMqtt({
      trustedAuthorities: cloud.trustedAuthorities,
      connectTo: cloud.connectTo,
    })
    const commonName = device as DeviceId
    const prepared = await transport.prepare(
      { hub, deviceId: commonName },
      { commonName, chain, keyUri, secureContext: (ca) => token.tls.secureContext(keyUri, chain, ca) },
      new AbortController().signal,
    )
    const connection = await prepared.connect(
      () => ({ status: 200, payload: null }),
      new AbortController().signal,
    )
    await connection.close()
  } finally {
    await token.close()
  }
}
