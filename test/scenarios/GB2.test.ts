import { expect, it } from 'vitest'
import { TestAuthority } from 'leafkeeper-sim'
import type { GroupOrder } from '../support/azure.ts'
import {
  deleteThenRoll,
  rollThenReplaced,
  showStillConnecting,
  soonAgain,
} from '../support/compromised-device.ts'
import { scenario } from '../support/scenario.ts'

type Slots = NonNullable<GroupOrder['intermediates']>

scenario(
  'GB2: an intermediate of an enrollment group is compromised',
  (createAzure) => {
    it.each(['primary', 'secondary', 'both'] as const)(
      'the new one takes its place (%s), and the hub learns of each device in either way',
      async (compromised) => {
        const azure = await createAzure()
        const enrollmentGroupId = azure.name(`gb2-${compromised}`)
        const root = await TestAuthority.createRoot({ commonName: `${enrollmentGroupId} root` })
        const stranger = await TestAuthority.createRoot({ commonName: `${enrollmentGroupId} stranger` })
        const [one, other, newOne, newOther, unknown] = await Promise.all([
          root.createIntermediate({ commonName: 'factory 1' }),
          root.createIntermediate({ commonName: 'factory 2' }),
          root.createIntermediate({ commonName: 'factory 3' }),
          root.createIntermediate({ commonName: 'factory 4' }),
          stranger.createIntermediate({ commonName: 'factory 5' }),
        ])
        await azure.addVerified(`${enrollmentGroupId}-root`, root)
        await azure.putGroup({ enrollmentGroupId, intermediates: { primary: one, secondary: other } })

        // Two devices under what is compromised: one under each when both are.
        const before = { primary: [one, one], secondary: [other, other], both: [one, other] }[compromised]
        const after: Slots = {
          primary: compromised === 'secondary' ? one : newOne,
          secondary: compromised === 'primary' ? other : newOther,
        }
        let authorities: readonly (TestAuthority | undefined)[] = before
        const start = async (index: number): ReturnType<typeof azure.startAgent> =>
          azure.startAgent(
            `${enrollmentGroupId}-${index}`,
            { authority: () => authorities[index] ?? stranger },
            { policy: soonAgain },
          )
        const [deleted, replaced] = await Promise.all([start(0), start(1)])
        await Promise.all([deleted.connected(), replaced.connected()])

        // The new intermediate has to be signed by a root that the service has verified.
        const refused = { ...after, [compromised === 'secondary' ? 'secondary' : 'primary']: unknown }
        await expect(azure.putGroup({ enrollmentGroupId, intermediates: refused })).rejects.toMatchObject({
          name: 'ArgumentError',
        })
        await azure.putGroup({ enrollmentGroupId, intermediates: after })
        await showStillConnecting(azure, deleted)
        await showStillConnecting(azure, replaced)

        authorities = {
          primary: [newOne, newOne],
          secondary: [newOther, newOther],
          both: [newOne, newOther],
        }[compromised]
        await deleteThenRoll(azure, deleted)
        await rollThenReplaced(azure, replaced)
        for (const agent of [deleted, replaced]) {
          await agent.send({ body: 'under the new intermediate' })
          expect(agent.status()).toMatchObject({ connection: 'connected', active: { generation: 2 } })
        }
      },
    )
  },
  { authorities: true },
)
