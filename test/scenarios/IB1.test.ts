import { generateKeyFile, TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import type { IndividualOrder } from '../support/azure.ts'
import { refusedByDps } from '../support/rolling.ts'
import { scenario } from '../support/scenario.ts'
import { stealKey } from '../support/stolen-key.ts'
import { next } from '../support/world.ts'

/** The leaves of one device: its compromised one, another one in the entry, and the new one. */
interface Leaves {
  readonly compromised: IssuedLeaf | undefined
  readonly other: IssuedLeaf
  readonly fresh: IssuedLeaf | undefined
}
type Slots = Pick<IndividualOrder, 'primary' | 'secondary'>
type Case = readonly [
  which: 'primary' | 'secondary' | 'both',
  before: (leaves: Leaves) => Slots,
  after: (leaves: Leaves) => Slots,
]

const cases: readonly Case[] = [
  ['primary', ({ compromised }) => ({ primary: compromised }), ({ fresh }) => ({ primary: fresh })],
  [
    'secondary',
    ({ compromised, other }) => ({ primary: other, secondary: compromised }),
    ({ fresh, other }) => ({ primary: other, secondary: fresh }),
  ],
  [
    'both',
    ({ compromised, other }) => ({ primary: compromised, secondary: other }),
    ({ fresh }) => ({ primary: fresh }),
  ],
]

scenario(
  'IB1: after a breach, the compromised certificate is deleted from the entry and a new one put',
  (createAzure) => {
    it.each(cases)('in its slots: %s', async (which, before, after) => {
      const azure = await createAzure()
      const registrationId = azure.name(`device-ib1-${which}`)
      const authority = await TestAuthority.createRoot({ commonName: 'root' })
      const { publicKey } = await generateKeyFile()
      const other = await authority.issueLeaf({ publicKey, commonName: registrationId })
      const leaves: IssuedLeaf[] = []
      const named = (): Leaves => ({ compromised: leaves[0], other, fresh: leaves[1] })
      const agent = await azure.startAgent(registrationId, {
        authority,
        issued: async (leaf, number) => {
          leaves.push(leaf)
          if (number === 1) await azure.putIndividual({ registrationId, ...before(named()) })
        },
      })
      await agent.connected()
      const thief = await stealKey(azure, registrationId, 1)
      await thief.register()

      // The new leaf is on the device; the entry has the compromised one still.
      const refused = refusedByDps(agent)
      const rolled = agent.roll({ mode: 'breach' })
      await refused
      await azure.putIndividual({ registrationId, ...after(named()) })
      await expect(thief.register()).rejects.toMatchObject({ code: 'DPS_UNAUTHORIZED' })

      // The device reprovisions with the new one, and its old key is destroyed.
      const retired = next(agent, 'retired')
      expect(await azure.invoke(registrationId, 'reprovision')).toBe(200)
      expect(await rolled).toMatchObject({ mode: 'breach', newThumbprint: leaves[1]?.thumbprint })
      expect((await retired)[0].generation).toBe(1)
      expect(await azure.hubThumbprint(registrationId)).toBe(leaves[1]?.thumbprint)
      await agent.connected()
      await agent.send({ body: 'on the new leaf' })
    })
  },
)
