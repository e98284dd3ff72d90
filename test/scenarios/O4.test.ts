import { DeviceAgent, hubIssuer, type DeviceAgentOptions } from 'leafkeeper'
import { SimulatedCloud, TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Azure, isRealAzure } from '../support/azure.ts'
import { stealKey } from '../support/stolen-key.ts'
import { keepSending } from '../support/telemetry.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { next } from '../support/world.ts'

/** A cloud that can be made to fail; the scenario looks at it through the service SDKs. */
async function start(): Promise<{ readonly cloud: SimulatedCloud; readonly azure: Azure }> {
  const cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  onTestFinished(() => cloud.close())
  return { cloud, azure: new Azure(cloud) }
}

/** The service has taken a request of the device, and does not answer it. */
async function promised(cloud: SimulatedCloud, registrationId: string): Promise<void> {
  await cloud.waitFor(
    'credentialAnswered',
    ({ deviceId, status }) => deviceId === registrationId && status === 202,
  )
}

// Previews, which few subscriptions have.
describe.skipIf(isRealAzure)('O4: the service itself issues the certificate', () => {
  it('the hub, over the connection of the device, which it lets in with what it has issued', async () => {
    const { cloud, azure } = await start()
    const registrationId = 'device-o4-hub'
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

    // From now on the hub is its authority, and DPS, which does not know what the hub issues, has no part in its rolls.
    const { provisioning: _none, ...withoutDps } = azure.agentOptions(registrationId)
    const options: DeviceAgentOptions = {
      ...withoutDps,
      ...(assignment === null ? {} : { assignment }),
      issuer: hubIssuer({ waitMs: 50, settleMs: 50, retryAfterMs: 20 }),
      stateFolder,
    }
    const running = async (): Promise<DeviceAgent> => {
      const agent = await DeviceAgent.start(options)
      onTestFinished(() => agent.stop())
      await agent.connected()
      return agent
    }
    const first = await running()
    const telemetry = keepSending(azure, first)
    await telemetry.acknowledged(10)
    const connections: string[] = []
    cloud.events.on('deviceConnected', ({ thumbprint }) => connections.push(thumbprint))
    const { newThumbprint, oldThumbprint, generation } = await first.roll()
    await telemetry.acknowledged(10)
    expect({ generation, oldThumbprint }).toEqual({ generation: 2, oldThumbprint: factory?.thumbprint })
    // It was asked on the connection that was there: the only new one is the one that the roll ends in.
    expect(connections).toEqual([newThumbprint])

    // A certificate for another key is refused, and the present one stays.
    cloud.faults.set('issuance-wrong', { times: 1 })
    await expect(first.roll()).rejects.toMatchObject({ code: 'CERT_KEY_MISMATCH' })
    await telemetry.acknowledged(10)
    expect(first.status().active?.thumbprint).toBe(newThumbprint)

    // The hub takes its time, and the device is restarted meanwhile.
    cloud.faults.set('issuance-stuck')
    const taken = promised(cloud, registrationId)
    const interrupted = first.roll().catch((error: unknown) => error)
    await taken
    await telemetry.acknowledged(10)
    expect((await telemetry.stop()).lost).toEqual([])
    await first.stop()
    expect(await interrupted).toMatchObject({ code: 'AGENT_STOPPED' })
    const second = await running()
    const rolled = next(second, 'rolled')
    cloud.faults.clear('issuance-stuck')
    const [report] = await rolled
    expect(report).toMatchObject({ oldThumbprint: newThumbprint })
    await second.send({ body: 'on the third leaf' })

    // The hub knows what it has issued: the device's record has not changed, and it goes with the device.
    expect(await azure.hubThumbprint(registrationId)).toBe(oldThumbprint)
    expect(second.status().active?.thumbprint).toBe(report.newThumbprint)
    const { generation: last } = report
    await second.stop()
    const issued = await stealKey(azure, registrationId, last)
    await issued.connect()
    await azure.deleteHubDevice(registrationId)
    await expect(issued.connect()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
  })
})
