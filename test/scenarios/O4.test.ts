import { DeviceAgent, functionIssuer } from 'leafkeeper'
import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { describe, expect, it, onTestFinished } from 'vitest'
import { createAzure, isRealAzure } from '../support/azure.ts'
import { issueByHub } from '../support/hub-credentials.ts'
import { credentialOnToken, stealKey } from '../support/stolen-key.ts'
import { keepSending } from '../support/telemetry.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { quickPolicy } from '../support/world.ts'

const slower = { baseMs: 500, capMs: 1_000 }

// A preview, which few subscriptions have.
describe.skipIf(isRealAzure)('O4: the hub itself issues the certificate', () => {
  it('to a device that asks with its present one, and lets it in with the new one', async () => {
    const azure = await createAzure()
    const registrationId = azure.name('device-o4')
    const stateFolder = await temporaryFolder()
    let first: IssuedLeaf | undefined
    const provisioned = await azure.startAgent(
      registrationId,
      {
        authority: await TestAuthority.createRoot({ commonName: 'factory root' }),
        issued: async (leaf) => {
          first = leaf
          await azure.putIndividual({ registrationId, primary: leaf })
        },
      },
      { stateFolder },
    )
    await provisioned.connected()
    const { assignment } = provisioned.state
    await provisioned.stop()

    // From now on the hub is its authority, and DPS has no part in its rolls.
    const present = await credentialOnToken(registrationId, 1)
    const issuer = functionIssuer('the hub', async (request) => issueByHub(azure, present, request))
    const { provisioning: _none, ...withoutDps } = azure.agentOptions(registrationId)
    const agent = await DeviceAgent.start({
      ...withoutDps,
      ...(assignment === null ? {} : { assignment }),
      issuer,
      stateFolder,
      // The request takes the device's connection over: the device lets the hub answer before it comes back.
      policy: { ...quickPolicy, retry: slower, lost: slower, debounce: slower },
    })
    onTestFinished(() => agent.stop())
    await agent.connected()
    const telemetry = keepSending(azure, agent)
    await telemetry.acknowledged(10)
    const { newThumbprint, oldThumbprint, generation } = await agent.roll()
    await agent.connected()
    await telemetry.acknowledged(10)
    expect((await telemetry.stop()).lost).toEqual([])
    expect(oldThumbprint).toBe(first?.thumbprint)
    expect(generation).toBe(2)

    // The hub knows what it has issued: the device's record has not changed, and it goes with the device.
    expect(await azure.hubThumbprint(registrationId)).toBe(oldThumbprint)
    expect(agent.status().active?.thumbprint).toBe(newThumbprint)
    await agent.stop()
    const issued = await stealKey(azure, registrationId, 2)
    await issued.connect()
    await azure.deleteHubDevice(registrationId)
    await expect(issued.connect()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
  })
})
