import { TestAuthority } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import type { Azure, GroupOrder } from '../support/azure.ts'
import { dpsRefusals, registrationProblem, shutOut } from '../support/rolling.ts'
import { scenario } from '../support/scenario.ts'
import { next } from '../support/world.ts'

/** A group below a verified root, and who signs for its devices. */
interface Setting {
  readonly rootName: string
  readonly order: GroupOrder
  readonly authority: TestAuthority
}

async function settingOf(azure: Azure, kind: 'root' | 'intermediate'): Promise<Setting> {
  const root = await TestAuthority.createRoot({ commonName: 'root' })
  const intermediate = await root.createIntermediate({ commonName: 'factory' })
  const rootName = azure.name(`root-x4-${kind}`)
  await azure.addVerified(rootName, root)
  const enrollmentGroupId = azure.name(`group-x4-${kind}`)
  return kind === 'root'
    ? { rootName, authority: root, order: { enrollmentGroupId, roots: { primary: rootName } } }
    : {
        rootName,
        authority: intermediate,
        order: { enrollmentGroupId, intermediates: { primary: intermediate } },
      }
}

scenario(
  'X4: a whole authority is disallowed',
  (createAzure) => {
    it.each(['root', 'intermediate'] as const)('by disabling its group: %s', async (kind) => {
      const azure = await createAzure()
      const { authority, order } = await settingOf(azure, kind)
      await azure.putGroup(order)
      const ids = ['a', 'b'].map((which) => azure.name(`device-x4-${kind}-${which}`))
      const agents = await Promise.all(ids.map(async (id) => azure.startAgent(id, { authority })))
      await Promise.all(agents.map(async (agent) => agent.connected()))

      await azure.putGroup({ ...order, provisioningStatus: 'disabled' })
      const problems = Promise.all(agents.map(registrationProblem))
      await Promise.all(ids.map(async (id) => azure.invoke(id, 'reprovision')))
      for (const { code } of await problems) expect(dpsRefusals).toContain(code)

      await azure.putGroup(order)
      const registered = Promise.all(agents.map(async (agent) => next(agent, 'registered')))
      await Promise.all(ids.map(async (id) => azure.invoke(id, 'reprovision')))
      await registered
    })

    it.each(['root', 'intermediate'] as const)('by removing the root: group of %s', async (kind) => {
      const azure = await createAzure()
      const { authority, order, rootName } = await settingOf(azure, kind)
      await azure.putGroup(order)
      const id = azure.name(`device-x4-${kind}-c`)
      const agent = await azure.startAgent(id, { authority })
      await agent.connected()

      await azure.certificates.delete(rootName)
      const problem = registrationProblem(agent)
      await azure.invoke(id, 'reprovision')
      expect((await problem).code).toBe('DPS_UNAUTHORIZED')

      // Nor does a new leaf help, since the same authority has signed it.
      const out = shutOut(agent)
      await azure.deleteHubDevice(id)
      await out
      const newcomer = await azure.startAgent(azure.name(`device-x4-${kind}-d`), { authority })
      await shutOut(newcomer)
      expect(newcomer.status().lastError?.code).toBe('DPS_UNAUTHORIZED')
    })
  },
  { authorities: true },
)
