import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it, onTestFinished } from 'vitest'
import type { Azure } from '../support/azure.ts'
import { scenario } from '../support/scenario.ts'
import { next, rollPhase } from '../support/world.ts'

scenario(
  'R2: while old and new are both valid, a direct method tells the device to register again',
  (createAzure) => {
    it('registers with the present leaf and stays connected', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-r2')
      const agent = await azure.startAgent(registrationId, await azure.enrolling(registrationId))
      await agent.connected()
      const before = agent.state.connection
      const registered = next(agent, 'registered')
      expect(await call(azure, registrationId, 'reprovision')).toEqual({
        status: 200,
        payload: { accepted: true },
      })
      expect((await registered)[0].substatus).toBe('reprovisionedToInitialAssignment')
      await agent.send({ body: 'same connection' })
      expect(agent.state.connection).toMatchObject({
        operation: 'operation' in before ? before.operation : -1,
      })
    })

    it('moves to a staged leaf once the enrollment has it', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-r2b')
      const leaves: IssuedLeaf[] = []
      const agent = await azure.startAgent(registrationId, {
        authority: await TestAuthority.createRoot({ commonName: 'root' }),
        issued: async (leaf, number) => {
          leaves.push(leaf)
          if (number === 1) await azure.putIndividual({ registrationId, primary: leaf })
        },
      })
      await agent.connected()
      const rolled = agent.roll()
      await rollPhase(agent, 'proving')
      await rollPhase(agent, 'staged')

      // Old as primary, new as secondary; then the method.
      const [primary, secondary] = leaves
      await azure.putIndividual({ registrationId, primary, secondary })
      await azure.invoke(registrationId, 'reprovision')
      const report = await rolled
      expect(report.newThumbprint).toBe(secondary?.thumbprint)
      expect(await azure.hubThumbprint(registrationId)).toBe(secondary?.thumbprint)
    })

    it('rolls on rollCertificate, and tells how it stands on getCertificateStatus', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-r2c')
      const pipeline = await azure.enrolling(registrationId)
      const agent = await azure.startAgent(registrationId, pipeline)
      await agent.connected()

      expect(await call(azure, registrationId, 'rollCertificate', { mode: 'sideways' })).toMatchObject({
        status: 400,
      })
      const retiring = rollPhase(agent, 'retiring')
      expect(await call(azure, registrationId, 'rollCertificate', { mode: 'expiry' })).toMatchObject({
        status: 200,
      })
      await retiring
      await agent.connected()
      expect(await call(azure, registrationId, 'getCertificateStatus')).toMatchObject({
        status: 200,
        payload: {
          connection: 'connected',
          certificate: {
            commonName: registrationId,
            generation: 2,
            thumbprint: pipeline.leaves[1]?.thumbprint,
          },
        },
      })
      expect(await call(azure, registrationId, 'noSuchMethod')).toMatchObject({ status: 404 })
    })
  },
)

scenario(
  'R2: told to register again, the device follows DPS to another hub',
  (createAzure) => {
    it('and talks there', async () => {
      const azure = await createAzure({ hubs: ['hub-a', 'hub-b'] })
      const { otherHub } = azure
      if (otherHub === undefined) throw new Error('Expected a second hub.')
      const registrationId = azure.name('device-r2d')
      onTestFinished(async () => {
        await otherHub.registry.delete(registrationId).catch(() => undefined)
      })
      const agent = await azure.startAgent(registrationId, {
        authority: await TestAuthority.createRoot({ commonName: 'root' }),
        issued: async (primary) =>
          azure.putIndividual({ registrationId, primary, iotHubHostName: azure.hub }),
      })
      await agent.connected()
      expect(agent.state.assignment?.hub).toBe(azure.hub)

      const { responseBody } = await azure.provisioning.getIndividualEnrollment(registrationId)
      await azure.provisioning.createOrUpdateIndividualEnrollment({
        ...responseBody,
        iotHubHostName: otherHub.hub,
      })
      const moved = next(agent, 'connected', ({ assignment }) => assignment.hub === otherHub.hub)
      await azure.invoke(registrationId, 'reprovision')
      await moved
      await agent.send({ body: 'from the other hub' })
      expect(azure.lost(registrationId, ['from the other hub'])).toEqual([])
      expect((await otherHub.registry.get(registrationId)).responseBody.connectionState).toBe('Connected')
    })
  },
  { otherHub: true },
)

/** Calls a direct method. @returns the device's status and payload */
async function call(
  { service }: Azure,
  deviceId: string,
  methodName: string,
  payload: unknown = null,
): Promise<unknown> {
  const { result } = (await service.invokeDeviceMethod(deviceId, { methodName, payload })) as {
    readonly result: unknown
  }
  return result
}
