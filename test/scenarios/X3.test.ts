import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { dpsRefusals, registrationProblem, shutOut } from '../support/rolling.ts'
import { scenario } from '../support/scenario.ts'
import { keepSending } from '../support/telemetry.ts'
import { next } from '../support/world.ts'

scenario(
  'X3: one device of a group is disallowed by a disabled individual entry for its leaf',
  (createAzure) => {
    it('it is shut out, and the other devices go on', async () => {
      const azure = await createAzure()
      const authority = await TestAuthority.createRoot({ commonName: 'root' })
      const root = azure.name('root-x3')
      await azure.addVerified(root, authority)
      await azure.putGroup({ enrollmentGroupId: azure.name('group-x3'), roots: { primary: root } })
      const disallowed = azure.name('device-x3-disallowed')
      const other = azure.name('device-x3-other')
      let leaf: IssuedLeaf | undefined
      const agent = await azure.startAgent(disallowed, {
        authority,
        issued: (issued) => void (leaf = issued),
      })
      const neighbour = await azure.startAgent(other, { authority })
      await Promise.all([agent.connected(), neighbour.connected()])
      const telemetry = keepSending(azure, neighbour)
      await telemetry.acknowledged(10)

      await azure.putIndividual({ registrationId: disallowed, primary: leaf, provisioningStatus: 'disabled' })
      const problem = registrationProblem(agent)
      await azure.invoke(disallowed, 'reprovision')
      expect(dpsRefusals).toContain((await problem).code)
      const out = shutOut(agent)
      await azure.deleteHubDevice(disallowed)
      await out

      // The neighbour registers again, and rolls its certificate, under the same group.
      const registered = next(neighbour, 'registered')
      await azure.invoke(other, 'reprovision')
      await registered
      const { newThumbprint } = await neighbour.roll()
      expect(await azure.hubThumbprint(other)).toBe(newThumbprint)
      await neighbour.connected()
      await telemetry.acknowledged(10)
      expect((await telemetry.stop()).lost).toEqual([])
      expect(agent.status().connection).toBe('refused')
      expect(await azure.hubDevice(disallowed)).toBeUndefined()
    })
  },
  { authorities: true },
)
