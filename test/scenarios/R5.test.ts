import { expect, it } from 'vitest'
import { scenario } from '../support/scenario.ts'
import { stealKey } from '../support/stolen-key.ts'
import { keepSending } from '../support/telemetry.ts'
import { next, testHsm } from '../support/world.ts'

scenario(
  'R5: after reprovisioning the new certificate connects, and the old one no longer works',
  (createAzure) => {
    it.each(['keep-session', 'cut-session'] as const)(
      'with a hub that does %s, and no message lost',
      async (onRecordReplaced) => {
        const azure = await createAzure({ onRecordReplaced })
        const registrationId = azure.name(`device-r5-${onRecordReplaced}`)
        const pipeline = await azure.enrolling(registrationId)
        const agent = await azure.startAgent(registrationId, pipeline)
        await agent.connected()

        // A hundred messages a second while the certificate is rolled.
        const telemetry = keepSending(azure, agent)
        await telemetry.acknowledged(1)
        const report = await agent.roll()
        await agent.connected()
        await telemetry.acknowledged(10)
        const { sent, lost } = await telemetry.stop()
        expect(sent).toBeGreaterThan(10)
        expect(lost).toEqual([])
        expect(report.newThumbprint).toBe(pipeline.leaves[1]?.thumbprint)

        // The old key is still on the token for the overlap, but the hub refuses its certificate.
        const [old] = agent.state.generations
        expect(old?.number).toBe(1)
        const overtaken = await stealKey(azure, registrationId, 1)
        await expect(overtaken.connect()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
        expect(agent.status().connection).toBe('connected')
      },
    )

    it('destroys the old key at once after a breach', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-r5-breach')
      const agent = await azure.startAgent(registrationId, await azure.enrolling(registrationId))
      await agent.connected()
      const [old] = agent.state.generations
      const retired = next(agent, 'retired')
      await agent.roll({ mode: 'breach' })
      expect((await retired)[0].generation).toBe(1)
      expect(testHsm().objects(old?.keyId ?? 'none')).toEqual([])
    })
  },
)
