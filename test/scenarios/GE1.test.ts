import { expect, it } from 'vitest'
import { TestAuthority } from 'leafkeeper-sim'
import { scenario } from '../support/scenario.ts'
import { stealKey } from '../support/stolen-key.ts'
import { keepSending } from '../support/telemetry.ts'
import { next } from '../support/world.ts'

scenario(
  'GE1: a root of an enrollment group expires, and its devices move to a new one without downtime',
  (createAzure) => {
    it('new root verified, selected as secondary, devices rolled one by one, old root deleted: no message lost', async () => {
      const azure = await createAzure()
      const [oldRoot, newRoot] = await Promise.all([
        TestAuthority.createRoot({ commonName: azure.name('root 1') }),
        TestAuthority.createRoot({ commonName: azure.name('root 2') }),
      ])
      const [oldName, newName] = [azure.name('ge1-root-1'), azure.name('ge1-root-2')]
      const enrollmentGroupId = azure.name('ge1')
      await azure.addVerified(oldName, oldRoot)
      await azure.putGroup({ enrollmentGroupId, roots: { primary: oldName } })

      let authority = oldRoot
      const devices = ['ge1-a', 'ge1-b', 'ge1-c'].map((device) => azure.name(device))
      const agents = await Promise.all(
        devices.map((device) => azure.startAgent(device, { authority: () => authority })),
      )
      await Promise.all(agents.map((agent) => agent.connected()))
      const telemetry = agents.map((agent) => keepSending(azure, agent))
      await Promise.all(telemetry.map((each) => each.acknowledged(20)))

      // The new root beside the old one: both attest from now on.
      await azure.addVerified(newName, newRoot)
      await azure.putGroup({ enrollmentGroupId, roots: { primary: oldName, secondary: newName } })
      authority = newRoot
      for (const [index, agent] of agents.entries()) {
        const { oldThumbprint, newThumbprint } = await agent.roll()
        const device = devices[index] ?? ''
        expect(newThumbprint).not.toBe(oldThumbprint)
        expect(await azure.hubThumbprint(device)).toBe(newThumbprint)
        // Those that have not rolled yet can still register under the old root.
        await Promise.all(
          agents.map(async (each, at) => {
            const registered = next(each, 'registered')
            expect(await azure.invoke(devices[at] ?? '', 'reprovision')).toBe(200)
            expect((await registered)[0].generation).toBe(at <= index ? 2 : 1)
          }),
        )
      }

      // Later the expired root goes, from the group and from the service.
      await azure.putGroup({ enrollmentGroupId, roots: { secondary: newName } })
      await azure.certificates.delete(oldName)
      for (const [index, agent] of agents.entries()) {
        const device = devices[index] ?? ''
        const overtaken = await stealKey(azure, device, 1)
        await expect(overtaken.register()).rejects.toMatchObject({ code: 'DPS_UNAUTHORIZED' })
        const registered = next(agent, 'registered')
        await azure.invoke(device, 'reprovision')
        expect((await registered)[0].generation).toBe(2)
      }

      await Promise.all(telemetry.map((each) => each.acknowledged(20)))
      for (const each of telemetry) {
        const { sent, lost } = await each.stop()
        expect(sent).toBeGreaterThan(40)
        expect(lost).toEqual([])
      }
    })
  },
  { authorities: true },
)
