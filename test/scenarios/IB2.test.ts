import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { refusedByDps } from '../support/rolling.ts'
import { scenario } from '../support/scenario.ts'
import { stealKey } from '../support/stolen-key.ts'
import { next } from '../support/world.ts'

scenario('IB2: after a breach, the device is deleted from the hub at once', (createAzure) => {
  it('the compromised certificate is refused, and the device reprovisions into a new registration', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-ib2')
    const leaves: IssuedLeaf[] = []
    const agent = await azure.startAgent(registrationId, {
      authority: await TestAuthority.createRoot({ commonName: 'root' }),
      issued: async (leaf, number) => {
        leaves.push(leaf)
        if (number === 1) await azure.putIndividual({ registrationId, primary: leaf })
      },
    })
    await agent.connected()
    const refused = refusedByDps(agent)
    const rolled = agent.roll({ mode: 'breach' })
    await refused
    const [compromised, fresh] = leaves
    await azure.putIndividual({ registrationId, primary: fresh })

    // DPS has the new certificate only, but the hub has not been told: the thief gets in, and the device back.
    const thief = await stealKey(azure, registrationId, 1)
    expect(await azure.hubThumbprint(registrationId)).toBe(compromised?.thumbprint)
    const back = next(agent, 'connected')
    await thief.connect()
    await back
    // The key will be gone from the token soon: the thief keeps a connection ready.
    const connectLater = await thief.prepare()

    const disconnected = next(agent, 'disconnected')
    const unauthorized = next(agent, 'unauthorized')
    await azure.deleteHubDevice(registrationId)
    await disconnected
    expect((await unauthorized)[0].code).toBe('HUB_UNAUTHORIZED')

    const { newThumbprint } = await rolled
    expect(newThumbprint).toBe(fresh?.thumbprint)
    await agent.connected()
    expect(await azure.hubThumbprint(registrationId)).toBe(newThumbprint)
    await expect(connectLater()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
    await agent.send({ body: 'in a new registration' })
  })
})
