import { DeviceAgent, functionIssuer, type DeviceAgentOptions } from 'leafkeeper'
import { TestAuthority } from 'leafkeeper-sim'
import { expect, it, onTestFinished } from 'vitest'
import { signerOf, type Azure } from '../support/azure.ts'
import { scenario } from '../support/scenario.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { next } from '../support/world.ts'

scenario(
  'D4: in a group whose authorities did not change, the new leaf is recognised',
  (createAzure) => {
    it('by DPS always: it writes the new thumbprint when the device registers', async () => {
      const azure = await createAzure({ groupAuthentication: 'selfSigned' })
      const authority = await groupOf(azure, 'd4a')
      const agent = await azure.startAgent(azure.name('device-d4a'), { authority })
      await agent.connected()
      const report = await agent.roll()
      expect(await azure.hubThumbprint(azure.name('device-d4a'))).toBe(report.newThumbprint)
      expect(agent.status().connection).toBe('connected')
    })

    it('not by the hub where its record has a thumbprint: refused until the device has registered again', async () => {
      const azure = await createAzure({ groupAuthentication: 'selfSigned' })
      const registrationId = azure.name('device-d4c')
      const authority = await groupOf(azure, 'd4c')
      const agent = await azure.startAgent(registrationId, { authority })
      await agent.connected()
      const thumbprint = agent.status().active?.thumbprint ?? ''
      await authenticateBy(azure, registrationId, { type: 'selfSigned', primaryThumbprint: thumbprint })
      await agent.stop()

      // Without DPS the new leaf is staged, refused by the hub, and the old one goes on.
      const alone = await DeviceAgent.start(withoutDps(azure, agent, authority))
      onTestFinished(() => alone.stop())
      await alone.connected()
      const refused = next(alone, 'unauthorized')
      const rolled = alone.roll()
      const stopped = expect(rolled).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
      await refused
      expect(alone.status()).toMatchObject({ connection: 'connected', active: { generation: 1 } })
      await alone.stop()
      await stopped

      // With DPS it registers, and the hub has the new thumbprint.
      const again = await azure.startAgent(registrationId, { authority })
      await again.connected()
      if (again.status().active?.generation === 1)
        await next(again, 'connected', ({ generation }) => generation !== 1)
      expect(await azure.hubThumbprint(registrationId)).toBe(again.status().active?.thumbprint)
    })
  },
  { authorities: true },
)

scenario(
  'D4: where its record authenticates by authority, the new leaf is recognised by the hub',
  (createAzure) => {
    it('by its chain alone: no registration is needed', async () => {
      const azure = await createAzure({ groupAuthentication: 'certificateAuthority' })
      const registrationId = azure.name('device-d4b')
      const root = await TestAuthority.createRoot({ commonName: 'root' })
      const intermediate = await root.createIntermediate({ commonName: 'factory' })
      await azure.addVerified(azure.name('root-d4b'), root)
      await azure.addVerifiedAtHub(azure.name('root-d4b'), root)
      const intermediates = { primary: intermediate }
      await azure.putGroup({ enrollmentGroupId: azure.name('group-d4b'), intermediates })
      const stateFolder = await temporaryFolder()
      const agent = await azure.startAgent(registrationId, { authority: intermediate }, { stateFolder })
      await agent.connected()
      await agent.roll()
      // Where DPS has written a thumbprint all the same, the owner chooses.
      await authenticateBy(azure, registrationId, { type: 'certificateAuthority' })

      // The same device without DPS.
      await agent.stop()
      const alone = await DeviceAgent.start({ ...withoutDps(azure, agent, intermediate), stateFolder })
      onTestFinished(() => alone.stop())
      await alone.connected()
      const report = await alone.roll()
      expect(report.newThumbprint).not.toBe(report.oldThumbprint)
      expect(alone.status().connection).toBe('connected')
      expect((await azure.hubDevice(registrationId))?.authentication.type).toBe('certificateAuthority')
      await alone.send({ body: 'on a leaf that nobody was told of' })
    })
  },
  { authorities: true, hubAuthorities: true },
)

/** A group under a verified root. */
async function groupOf(azure: Azure, name: string): Promise<TestAuthority> {
  const root = await TestAuthority.createRoot({ commonName: `${name} root` })
  const primary = azure.name(`root-${name}`)
  await azure.addVerified(primary, root)
  await azure.putGroup({ enrollmentGroupId: azure.name(`group-${name}`), roots: { primary } })
  return root
}

/** Has the hub's record of a device authenticate so, if it does not already. */
async function authenticateBy(
  azure: Azure,
  deviceId: string,
  wanted:
    | { readonly type: 'certificateAuthority' }
    | { readonly type: 'selfSigned'; readonly primaryThumbprint: string },
): Promise<void> {
  const { type } = wanted
  if ((await azure.hubDevice(deviceId))?.authentication.type === type) return
  const authentication =
    type === 'selfSigned'
      ? { type, x509Thumbprint: { primaryThumbprint: wanted.primaryThumbprint } }
      : { type }
  await azure.registry.update({ deviceId, authentication })
}

/** How the same device is started that knows its hub, and no DPS. */
function withoutDps(azure: Azure, agent: DeviceAgent, authority: TestAuthority): DeviceAgentOptions {
  const { provisioning: _none, ...options } = azure.agentOptions(agent.status().registrationId)
  const { assignment } = agent.state
  return {
    ...options,
    ...(assignment === null ? {} : { assignment }),
    issuer: functionIssuer('test authority', signerOf({ authority })),
  }
}
