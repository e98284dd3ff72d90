import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { refusedByDps } from '../support/rolling.ts'
import { scenario } from '../support/scenario.ts'
import { stealKey } from '../support/stolen-key.ts'
import { next } from '../support/world.ts'

scenario(
  'IB3: after a breach, the device reprovisions to the same hub, which replaces its certificate',
  (createAzure) => {
    // It is not known what Azure does with the live connection: the device must come through both.
    it.each(['keep-session', 'cut-session'] as const)(
      'until then the compromised certificate still connects; with a hub that does %s',
      async (onRecordReplaced) => {
        const azure = await createAzure({ onRecordReplaced })
        const registrationId = azure.name(`device-ib3-${onRecordReplaced}`)
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

        // DPS no longer knows the compromised certificate; the hub still does, and lets it in.
        await azure.putIndividual({ registrationId, primary: fresh })
        const thief = await stealKey(azure, registrationId, 1)
        await expect(thief.register()).rejects.toMatchObject({ code: 'DPS_UNAUTHORIZED' })
        expect(await azure.hubThumbprint(registrationId)).toBe(compromised?.thumbprint)
        const back = next(agent, 'connected')
        await thief.connect()
        await back
        // The key will be gone from the token soon: the thief keeps a connection ready.
        const connectLater = await thief.prepare()

        const registered = next(agent, 'registered')
        expect(await azure.invoke(registrationId, 'reprovision')).toBe(200)
        expect((await registered)[0].substatus).toBe('reprovisionedToInitialAssignment')
        const { newThumbprint } = await rolled
        expect(newThumbprint).toBe(fresh?.thumbprint)
        expect(await azure.hubThumbprint(registrationId)).toBe(newThumbprint)

        // Now the same key is refused, and the refusal leaves the device alone.
        await agent.connected()
        await expect(connectLater()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
        expect(agent.status()).toMatchObject({ connection: 'connected', generations: [2] })
        await agent.send({ body: 'on the new leaf' })
      },
    )
  },
)
