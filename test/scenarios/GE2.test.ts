import { expect, it } from 'vitest'
import { TestAuthority } from 'leafkeeper-sim'
import { scenario } from '../support/scenario.ts'
import { stealKey } from '../support/stolen-key.ts'
import { keepSending } from '../support/telemetry.ts'
import { next } from '../support/world.ts'

scenario(
  'GE2: an intermediate of an enrollment group expires, and its devices move to a new one without downtime',
  (createAzure) => {
    it('new intermediate as secondary, devices rolled one by one, primary deleted, next time the other way: no message lost', async () => {
      const azure = await createAzure()
      const root = await TestAuthority.createRoot({ commonName: azure.name('root') })
      const [first, second, third] = await Promise.all([
        root.createIntermediate({ commonName: 'factory 1' }),
        root.createIntermediate({ commonName: 'factory 2' }),
        root.createIntermediate({ commonName: 'factory 3' }),
      ])
      const enrollmentGroupId = azure.name('ge2')
      await azure.addVerified(azure.name('ge2-root'), root)
      await azure.putGroup({ enrollmentGroupId, intermediates: { primary: first } })

      let authority = first
      const devices = ['ge2-a', 'ge2-b', 'ge2-c'].map((device) => azure.name(device))
      const agents = await Promise.all(
        devices.map((device) => azure.startAgent(device, { authority: () => authority })),
      )
      await Promise.all(agents.map((agent) => agent.connected()))
      const telemetry = agents.map((agent) => keepSending(azure, agent))
      await Promise.all(telemetry.map((each) => each.acknowledged(20)))

      const rollOneByOne = async (generation: number): Promise<void> => {
        for (const [index, agent] of agents.entries()) {
          const { newThumbprint } = await agent.roll()
          expect(await azure.hubThumbprint(devices[index] ?? '')).toBe(newThumbprint)
          // Those that have not rolled yet can still register under the intermediate that expires.
          await Promise.all(
            agents.map(async (each, at) => {
              const registered = next(each, 'registered')
              expect(await azure.invoke(devices[at] ?? '', 'reprovision')).toBe(200)
              expect((await registered)[0].generation).toBe(at <= index ? generation : generation - 1)
            }),
          )
        }
      }
      const nobodyRegistersWith = async (generation: number): Promise<void> => {
        for (const device of devices) {
          const overtaken = await stealKey(azure, device, generation)
          await expect(overtaken.register()).rejects.toMatchObject({ code: 'DPS_UNAUTHORIZED' })
        }
      }

      // The first time the new one is the secondary, and the primary goes when it has expired.
      await azure.putGroup({ enrollmentGroupId, intermediates: { primary: first, secondary: second } })
      authority = second
      await rollOneByOne(2)
      await azure.putGroup({ enrollmentGroupId, intermediates: { secondary: second } })
      await nobodyRegistersWith(1)

      // The next time it is the other way round.
      await azure.putGroup({ enrollmentGroupId, intermediates: { primary: third, secondary: second } })
      authority = third
      await rollOneByOne(3)
      await azure.putGroup({ enrollmentGroupId, intermediates: { primary: third } })
      await nobodyRegistersWith(2)

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
