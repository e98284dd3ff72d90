import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { dpsRefusals, shutOut } from '../support/rolling.ts'
import { scenario } from '../support/scenario.ts'
import { next } from '../support/world.ts'

scenario('X5: a device is deprovisioned at the hub too', (createAzure) => {
  it.each(['delete', 'disable'] as const)(
    '%s: its connection is closed, and it cannot come back',
    async (how) => {
      const azure = await createAzure()
      const registrationId = azure.name(`device-x5-${how}`)
      let leaf: IssuedLeaf | undefined
      const agent = await azure.startAgent(registrationId, {
        authority: await TestAuthority.createRoot({ commonName: 'root' }),
        issued: async (issued) => {
          leaf = issued
          await azure.putIndividual({ registrationId, primary: issued })
        },
      })
      await agent.connected()

      // First DPS, so that the device cannot register again; then the hub.
      await azure.putIndividual({ registrationId, primary: leaf, provisioningStatus: 'disabled' })
      const disconnected = next(agent, 'disconnected')
      const unauthorized = next(agent, 'unauthorized')
      const out = shutOut(agent)
      if (how === 'delete') await azure.deleteHubDevice(registrationId)
      else await azure.setHubDeviceStatus(registrationId, 'disabled')
      await disconnected
      expect((await unauthorized)[0].code).toBe('HUB_UNAUTHORIZED')
      await out
      expect(dpsRefusals).toContain(agent.status().lastError?.code)
      const device = await azure.hubDevice(registrationId)
      if (how === 'delete') expect(device).toBeUndefined()
      else expect(device).toMatchObject({ status: 'disabled', connectionState: 'Disconnected' })
    },
  )

  it('disabled at the hub alone: registering again does not open it', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-x5-hub')
    const agent = await azure.startAgent(registrationId, {
      authority: await TestAuthority.createRoot({ commonName: 'root' }),
      issued: async (leaf) => azure.putIndividual({ registrationId, primary: leaf }),
    })
    await agent.connected()

    const disconnected = next(agent, 'disconnected')
    const registered = next(agent, 'registered')
    await azure.setHubDeviceStatus(registrationId, 'disabled')
    await disconnected
    await registered
    const refusedAgain = next(agent, 'unauthorized')
    await refusedAgain
    expect((await azure.hubDevice(registrationId))?.status).toBe('disabled')

    const again = next(agent, 'connected')
    await azure.setHubDeviceStatus(registrationId, 'enabled')
    await again
    await agent.send({ body: 'allowed again' })
  })
})
