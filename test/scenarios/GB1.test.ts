import { expect, it } from 'vitest'
import { TestAuthority } from 'leafkeeper-sim'
import {
  deleteThenRoll,
  rollThenReplaced,
  showStillConnecting,
  soonAgain,
  type HubSide,
} from '../support/compromised-device.ts'
import { scenario } from '../support/scenario.ts'

scenario(
  'GB1: the root of an enrollment group is compromised',
  (createAzure) => {
    const hubSides: [what: string, prefix: string, updateHub: HubSide][] = [
      ['each device is deleted at the hub and registers anew (IB2)', 'gb1-ib2', deleteThenRoll],
      ['each device registers to the hub, which replaces its certificate (IB3)', 'gb1-ib3', rollThenReplaced],
    ]

    it.each(hubSides)(
      'it is deleted, a new root is verified and selected, and %s',
      async (_what, prefix, updateHub) => {
        const azure = await createAzure()
        const enrollmentGroupId = azure.name(prefix)
        const [compromisedName, replacementName] = [
          `${enrollmentGroupId}-root-1`,
          `${enrollmentGroupId}-root-2`,
        ]
        const [compromised, replacement] = await Promise.all([
          TestAuthority.createRoot({ commonName: compromisedName }),
          TestAuthority.createRoot({ commonName: replacementName }),
        ])
        await azure.addVerified(compromisedName, compromised)
        await azure.putGroup({ enrollmentGroupId, roots: { primary: compromisedName } })

        let authority = compromised
        const agents = await Promise.all(
          ['a', 'b', 'c'].map((device) =>
            azure.startAgent(
              `${enrollmentGroupId}-${device}`,
              { authority: () => authority },
              { policy: soonAgain },
            ),
          ),
        )
        await Promise.all(agents.map((agent) => agent.connected()))

        // Nothing under the root attests from now on, but the hub knows its devices by their own certificates.
        await azure.certificates.delete(compromisedName)
        for (const agent of agents) await showStillConnecting(azure, agent)

        // The new root counts once its possession is proven, and not before.
        const group = { enrollmentGroupId, roots: { primary: replacementName } }
        await azure.certificates.add(replacementName, replacement)
        await expect(azure.putGroup(group)).rejects.toMatchObject({ name: 'ArgumentError' })
        await expect(azure.certificates.verify(replacementName, compromised)).rejects.toThrow('400')
        expect(await azure.certificates.isVerified(replacementName)).toBe(false)
        await azure.certificates.verify(replacementName, replacement)
        expect(await azure.certificates.isVerified(replacementName)).toBe(true)
        await azure.putGroup(group)

        authority = replacement
        await Promise.all(agents.map((agent) => updateHub(azure, agent)))
        for (const agent of agents) {
          await agent.send({ body: 'under the new root' })
          expect(agent.status()).toMatchObject({ connection: 'connected', active: { generation: 2 } })
        }
      },
    )
  },
  { authorities: true },
)
