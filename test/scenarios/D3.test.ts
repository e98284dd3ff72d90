import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { scenario } from '../support/scenario.ts'
import { next, rollPhase } from '../support/world.ts'

scenario(
  'D3: the hub knows only the old leaf until the enrollment is updated and the device reprovisions',
  (createAzure) => {
    it('stays on the old leaf while the new one is refused, and moves when the enrollment has it', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-d3')
      const leaves: IssuedLeaf[] = []
      const agent = await azure.startAgent(registrationId, {
        authority: await TestAuthority.createRoot({ commonName: 'root' }),
        // The first leaf goes into the enrollment, the second one does not yet.
        issued: async (leaf, number) => {
          leaves.push(leaf)
          if (number === 1) await azure.putIndividual({ registrationId, primary: leaf })
        },
      })
      await agent.connected()

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
      const [old, fresh] = leaves
      expect(await azure.hubThumbprint(registrationId)).toBe(old?.thumbprint)
      await agent.send({ body: 'on the old leaf' })

      // The owner deletes the old certificate, puts the new one, and deletes the hub's registration: unauthorized.
      const unauthorized = next(agent, 'unauthorized')
      await azure.putIndividual({ registrationId, primary: fresh })
      await azure.deleteHubDevice(registrationId)
      expect((await unauthorized)[0].code).toBe('HUB_UNAUTHORIZED')

      // By itself: DPS refuses the old leaf, accepts the new one, and updates the hub.
      const report = await rolled
      expect(report.newThumbprint).toBe(fresh?.thumbprint)
      await agent.connected()
      expect(await azure.hubThumbprint(registrationId)).toBe(fresh?.thumbprint)
      await agent.send({ body: 'on the new leaf' })
      expect(azure.lost(registrationId, ['on the old leaf', 'on the new leaf'])).toEqual([])
    })
  },
)
