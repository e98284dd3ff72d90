import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { scenario } from '../support/scenario.ts'
import { stealKey } from '../support/stolen-key.ts'
import { keepSending } from '../support/telemetry.ts'
import { refusedByDps } from '../support/rolling.ts'

scenario('IE1: before expiry, the new certificate is put beside the old one', (createAzure) => {
  it('as secondary, then alternately, and no message is lost', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-ie1')
    const leaves: IssuedLeaf[] = []
    const agent = await azure.startAgent(registrationId, {
      authority: await TestAuthority.createRoot({ commonName: 'root' }),
      issued: async (leaf, number) => {
        leaves.push(leaf)
        if (number === 1) await azure.putIndividual({ registrationId, primary: leaf })
      },
    })
    await agent.connected()
    let unauthorized = 0
    agent.on('unauthorized', () => (unauthorized += 1))
    const telemetry = keepSending(azure, agent)
    await telemetry.acknowledged(10)

    // The device has its new certificate first; DPS does not know it yet, and the old one goes on.
    const refused = refusedByDps(agent)
    const first = agent.roll()
    await refused
    const [expiring, fresh] = leaves
    expect(await azure.hubThumbprint(registrationId)).toBe(expiring?.thumbprint)

    // The owner puts it as secondary and tells the device to reprovision.
    await azure.putIndividual({ registrationId, primary: expiring, secondary: fresh })
    expect(await azure.invoke(registrationId, 'reprovision')).toBe(200)
    expect((await first).newThumbprint).toBe(fresh?.thumbprint)
    expect(await azure.hubThumbprint(registrationId)).toBe(fresh?.thumbprint)

    // Later the expired primary is deleted: registering with it fails, the device goes on.
    const expired = await stealKey(azure, registrationId, 1)
    await agent.connected()
    await azure.putIndividual({ registrationId, secondary: fresh })
    await expect(expired.register()).rejects.toMatchObject({ code: 'DPS_UNAUTHORIZED' })
    await telemetry.acknowledged(10)

    // Next time the new one goes into the primary slot again.
    const refusedAgain = refusedByDps(agent)
    const second = agent.roll()
    await refusedAgain
    await azure.putIndividual({ registrationId, primary: leaves[2], secondary: fresh })
    expect(await azure.invoke(registrationId, 'reprovision')).toBe(200)
    expect((await second).newThumbprint).toBe(leaves[2]?.thumbprint)
    await azure.putIndividual({ registrationId, primary: leaves[2] })
    await telemetry.acknowledged(10)

    const { sent, lost } = await telemetry.stop()
    expect(sent).toBeGreaterThan(30)
    expect(lost).toEqual([])
    expect(unauthorized).toBe(0)
  })
})
