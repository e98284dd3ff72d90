import { generateKeyFile, TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { dpsRefusals, registrationProblem } from '../support/rolling.ts'
import { scenario } from '../support/scenario.ts'
import { next } from '../support/world.ts'

scenario(
  'X2: a certificate in a disabled entry fails everywhere',
  (createAzure) => {
    it('though there is an enabled entry for the device, or a group that covers it', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-x2')
      const blocked = azure.name('blocked-x2')
      const authority = await TestAuthority.createRoot({ commonName: 'root' })
      let leaf: IssuedLeaf | undefined
      const agent = await azure.startAgent(registrationId, {
        authority,
        issued: async (issued) => {
          leaf = issued
          await azure.putIndividual({ registrationId, primary: issued })
        },
      })
      await agent.connected()

      // A certificate stands in one entry at most: it is taken out of the enabled one and put into a disabled one.
      const disabledEntry = {
        registrationId: blocked,
        primary: leaf,
        provisioningStatus: 'disabled',
      } as const
      const taken = { name: 'DeviceAlreadyExistsError' }
      await expect(azure.putIndividual(disabledEntry)).rejects.toMatchObject(taken)
      await azure.deleteIndividual(registrationId)
      await azure.putIndividual(disabledEntry)
      const withoutItsOwn = registrationProblem(agent)
      await azure.invoke(registrationId, 'reprovision')
      expect(dpsRefusals).toContain((await withoutItsOwn).code)

      // An enabled entry of the device's own name cannot have it any more, and does not help with other certificates.
      await expect(azure.putIndividual({ registrationId, primary: leaf })).rejects.toMatchObject(taken)
      const { publicKey } = await generateKeyFile()
      const other = await authority.issueLeaf({ publicKey, commonName: registrationId })
      await azure.putIndividual({ registrationId, primary: other })
      const besideItsOwn = registrationProblem(agent)
      await azure.invoke(registrationId, 'reprovision')
      expect(dpsRefusals).toContain((await besideItsOwn).code)
      await azure.deleteIndividual(registrationId)

      // Nor does a group help whose root has signed the certificate.
      const root = azure.name('root-x2')
      await azure.addVerified(root, authority)
      await azure.putGroup({ enrollmentGroupId: azure.name('group-x2'), roots: { primary: root } })
      const inItsGroup = registrationProblem(agent)
      await azure.invoke(registrationId, 'reprovision')
      expect(dpsRefusals).toContain((await inItsGroup).code)

      // It was the disabled entry alone: without it the group lets the device in.
      await azure.deleteIndividual(blocked)
      const registered = next(agent, 'registered')
      await azure.invoke(registrationId, 'reprovision')
      expect((await registered)[0].substatus).toBe('reprovisionedToInitialAssignment')
      expect(await azure.hubThumbprint(registrationId)).toBe(leaf?.thumbprint)
    })
  },
  { authorities: true },
)
