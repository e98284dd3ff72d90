import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { dpsRefusals, registrationProblem, shutOut } from '../support/rolling.ts'
import { scenario } from '../support/scenario.ts'
import { next } from '../support/world.ts'

scenario('X1: the enrollment entry of a device is disabled', (createAzure) => {
  // How Azure says it is not known for sure; the device must understand both.
  it.each(['unauthorized', 'status-disabled'] as const)(
    'registration fails, told by %s, until the entry is enabled again',
    async (disabledEnrollment) => {
      const azure = await createAzure({ disabledEnrollment })
      const registrationId = azure.name(`device-x1-${disabledEnrollment}`)
      let leaf: IssuedLeaf | undefined
      const agent = await azure.startAgent(registrationId, {
        authority: await TestAuthority.createRoot({ commonName: 'root' }),
        issued: async (issued) => {
          leaf = issued
          await azure.putIndividual({ registrationId, primary: issued })
        },
      })
      await agent.connected()

      await azure.putIndividual({ registrationId, primary: leaf, provisioningStatus: 'disabled' })
      const problem = registrationProblem(agent)
      expect(await azure.invoke(registrationId, 'reprovision')).toBe(200)
      expect(dpsRefusals).toContain((await problem).code)

      // DPS does not speak to the hub: the device stays connected until its record goes (X5).
      await agent.send({ body: 'the hub still knows me' })
      const disconnected = next(agent, 'disconnected')
      const out = shutOut(agent)
      await azure.deleteHubDevice(registrationId)
      await disconnected
      await out
      expect(await azure.hubDevice(registrationId)).toBeUndefined()
      expect(dpsRefusals).toContain(agent.status().lastError?.code)

      await azure.putIndividual({ registrationId, primary: leaf })
      agent.reprovision()
      await agent.connected()
      expect(await azure.hubThumbprint(registrationId)).toBe(leaf?.thumbprint)
    },
  )

  it('a device that was never registered does not get in', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-x1-new')
    const authority = await TestAuthority.createRoot({ commonName: 'root' })
    const agent = await azure.startAgent(registrationId, {
      authority,
      issued: async (leaf) => {
        await azure.putIndividual({ registrationId, primary: leaf, provisioningStatus: 'disabled' })
      },
    })
    await shutOut(agent)
    expect(dpsRefusals).toContain(agent.status().lastError?.code)
    expect(await azure.hubDevice(registrationId)).toBeUndefined()
  })
})
