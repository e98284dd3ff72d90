import { X509Certificate } from 'node:crypto'
import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { scenario } from '../support/scenario.ts'
import { keepSending } from '../support/telemetry.ts'

scenario(
  "O1: new certificates come from one's own authority",
  (createAzure) => {
    it.each(['root', 'intermediate'] as const)(
      'signed by the %s, and no message is lost while it rolls',
      async (kind) => {
        const azure = await createAzure()
        const registrationId = azure.name(`device-o1-${kind}`)
        const root = await TestAuthority.createRoot({ commonName: 'own root' })
        const intermediate = await root.createIntermediate({ commonName: 'own intermediate' })
        const rootName = azure.name(`root-o1-${kind}`)
        await azure.addVerified(rootName, root)
        await azure.putGroup({
          enrollmentGroupId: azure.name(`group-o1-${kind}`),
          ...(kind === 'root'
            ? { roots: { primary: rootName } }
            : { intermediates: { primary: intermediate } }),
        })
        const authority = kind === 'root' ? root : intermediate
        const leaves: IssuedLeaf[] = []
        const agent = await azure.startAgent(registrationId, {
          authority,
          issued: (leaf) => void leaves.push(leaf),
        })
        await agent.connected()

        const telemetry = keepSending(azure, agent)
        await telemetry.acknowledged(10)
        const { newThumbprint } = await agent.roll()
        await agent.connected()
        await telemetry.acknowledged(10)
        const { sent, lost } = await telemetry.stop()
        expect(sent).toBeGreaterThan(20)
        expect(lost).toEqual([])

        // Signed by the authority that was chosen, under the same name, for a key that has never left the token.
        const leaf = new X509Certificate(leaves[1]?.certificate ?? '')
        expect(leaf.verify(new X509Certificate(authority.certificate).publicKey)).toBe(true)
        expect(leaf.subject).toBe(`CN=${registrationId}`)
        expect(leaves[1]?.thumbprint).toBe(newThumbprint)
        expect(leaves[1]?.chain.match(/BEGIN CERTIFICATE/g)).toHaveLength(kind === 'root' ? 1 : 2)
        expect(await azure.hubThumbprint(registrationId)).toBe(newThumbprint)
        expect(await agent.describeKey()).toMatchObject({ extractable: false, sensitive: true })
      },
    )
  },
  { authorities: true },
)
