import { randomBytes } from 'node:crypto'
import { hubIssuer, Secret, type DeviceAgentOptions } from 'leafkeeper'
import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { expect, it } from 'vitest'
import { enrollForIssuance, onboarded, startOnboarded } from '../support/onboarding.ts'
import { scenario } from '../support/scenario.ts'
import { stealKey } from '../support/stolen-key.ts'
import { keepSending } from '../support/telemetry.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

// What a service that is slow, wrong or forgetful makes of it: test/issuer/issued-by-service.test.ts.
scenario(
  'O4: the service itself issues the certificate',
  (createAzure) => {
    it('the hub, over the connection of the device, which it lets in with what it has issued', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-o4-hub')
      const stateFolder = await temporaryFolder()
      let factory: IssuedLeaf | undefined
      const provisioned = await azure.startAgent(
        registrationId,
        {
          authority: await TestAuthority.createRoot({ commonName: 'factory root' }),
          issued: async (leaf) => {
            factory = leaf
            await azure.putIndividual({ registrationId, primary: leaf })
          },
        },
        { stateFolder },
      )
      await provisioned.connected()
      const { assignment } = provisioned.state
      await provisioned.stop()

      // From now on the hub is its authority, and DPS, which does not know what it issues, has no part in rolls.
      const { provisioning: _none, ...withoutDps } = azure.agentOptions(registrationId)
      const options: DeviceAgentOptions = {
        ...withoutDps,
        ...(assignment === null ? {} : { assignment }),
        issuer: hubIssuer(),
        stateFolder,
      }
      const agent = await startOnboarded(options)
      await agent.connected()
      const telemetry = keepSending(azure, agent)
      await telemetry.acknowledged(10)
      const { newThumbprint, oldThumbprint, generation } = await agent.roll()
      await telemetry.acknowledged(10)
      expect((await telemetry.stop()).lost).toEqual([])
      expect({ generation, oldThumbprint }).toEqual({ generation: 2, oldThumbprint: factory?.thumbprint })
      expect(agent.status().active?.thumbprint).toBe(newThumbprint)

      // The hub knows what it has issued: the device's record has not changed, and it goes with the device.
      expect(await azure.hubThumbprint(registrationId)).toBe(oldThumbprint)
      await agent.stop()
      const issued = await stealKey(azure, registrationId, 2)
      await issued.connect()
      await azure.deleteHubDevice(registrationId)
      await expect(issued.connect()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
    })

    it('DPS, with the registration of a device that has a symmetric key and no certificate yet', async () => {
      const azure = await createAzure()
      const registrationId = azure.name('device-o4-dps')
      const key = randomBytes(32).toString('base64')
      await enrollForIssuance(azure, registrationId, {
        type: 'symmetricKey',
        symmetricKey: { primaryKey: key, secondaryKey: key },
      })
      const agent = await startOnboarded(
        onboarded(azure, registrationId, { symmetricKey: { callback: () => new Secret(key) } }),
      )
      await agent.connected()
      expect((await azure.hubDevice(registrationId))?.authentication.type).not.toBe('sas')
      const { active } = agent.status()
      const telemetry = keepSending(azure, agent)
      await telemetry.acknowledged(10)
      const { newThumbprint, oldThumbprint, generation } = await agent.roll()
      expect({ generation, oldThumbprint }).toEqual({ generation: 2, oldThumbprint: active?.thumbprint })
      await telemetry.acknowledged(10)
      expect((await telemetry.stop()).lost).toEqual([])
      expect(agent.status().active?.thumbprint).toBe(newThumbprint)
    })
  },
  { issuance: true },
)
