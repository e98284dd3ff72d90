import { randomBytes, webcrypto } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import {
  hubIssuer,
  issuerByReason,
  openToken,
  Secret,
  type DeviceAgent,
  type DeviceAgentOptions,
  type Pem,
} from 'leafkeeper'
import { SimulatedCloud, TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import { describe, expect, it, onTestFinished } from 'vitest'
import { Azure } from '../support/azure.ts'
import { enrollForIssuance, onboarded, startOnboarded as startAgent } from '../support/onboarding.ts'
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

/** The agent has the ticket of a request that is worked on; no event tells of it. */
async function pending(agent: DeviceAgent): Promise<void> {
  const hasTicket = (): boolean => agent.state.roll.phase === 'requesting' && agent.state.roll.ticket !== null
  while (!hasTicket()) await turn()
}

/** The service takes its time, answers wrongly, and forgets, which only a simulated one can be asked to do. */
describe('a device whose certificates the service issues', () => {
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
    const first = await startAgent(options)
    await first.connected()
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
    const second = await startAgent(options)
    await second.connected()
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

  it('DPS, with the registration of a device that has a symmetric key and no certificate yet', async () => {
    const { cloud, azure } = await start()
    const registrationId = 'device-o4-dps'
    const key = randomBytes(32).toString('base64')
    await enrollForIssuance(azure, registrationId, {
      type: 'symmetricKey',
      symmetricKey: { primaryKey: key, secondaryKey: key },
    })
    const options: DeviceAgentOptions = {
      ...onboarded(azure, registrationId, { symmetricKey: { callback: () => new Secret(key) } }),
      stateFolder: await temporaryFolder(),
    }

    // The first certificate takes its time too, and the device is restarted before it has any.
    cloud.faults.set('issuance-stuck')
    const fresh = await startAgent(options)
    await pending(fresh)
    await fresh.stop()
    const agent = await startAgent(options)
    const connected = agent.connected()
    cloud.faults.clear()
    await connected
    expect((await azure.hubDevice(registrationId))?.authentication.type).not.toBe('sas')
    const { active } = agent.status()
    expect(active).toMatchObject({ generation: 1 })
    const telemetry = keepSending(azure, agent)
    await telemetry.acknowledged(10)

    const { newThumbprint, oldThumbprint, generation } = await agent.roll()
    expect({ generation, oldThumbprint }).toEqual({ generation: 2, oldThumbprint: active?.thumbprint })
    await telemetry.acknowledged(10)

    cloud.faults.set('issuance-wrong', { times: 1 })
    await expect(agent.roll()).rejects.toMatchObject({ code: 'CERT_KEY_MISMATCH' })
    await telemetry.acknowledged(10)
    expect(agent.status().active?.thumbprint).toBe(newThumbprint)

    cloud.faults.set('issuance-stuck')
    const interrupted = agent.roll().catch((error: unknown) => error)
    await pending(agent)
    await telemetry.acknowledged(10)
    expect((await telemetry.stop()).lost).toEqual([])
    await agent.stop()
    expect(await interrupted).toMatchObject({ code: 'AGENT_STOPPED' })
    const again = await startAgent(options)
    await again.connected()
    const rolled = next(again, 'rolled')
    cloud.faults.clear()
    const [report] = await rolled
    expect(report).toMatchObject({ oldThumbprint: newThumbprint })
    await again.send({ body: 'on the third leaf' })
  })

  it('DPS first, to a device whose onboarding certificate has its key on the token, and then the hub', async () => {
    const { cloud, azure } = await start()
    const registrationId = 'device-o4-both'
    const keyName = `${registrationId}-onboarding`
    const { token: tokenOptions } = azure.agentOptions(registrationId)
    const factory = await TestAuthority.createRoot({ commonName: 'onboarding root' })
    const token = await openToken(tokenOptions)
    onTestFinished(() => token.close())
    const keys = token.keyStore(keyName)
    const { keyId, publicKey = new Uint8Array() } = await keys.generate(1, 'EC-P256')
    const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
    const leaf = await factory.issueLeaf({
      publicKey: await webcrypto.subtle.importKey('spki', publicKey, algorithm, true, ['verify']),
      commonName: registrationId,
    })
    await keys.storeCertificate(keyId, leaf.chain as Pem)
    await enrollForIssuance(azure, registrationId, {
      type: 'x509',
      x509: { clientCertificates: { primary: { certificate: leaf.certificate } } },
    })
    const stateFolder = await temporaryFolder()
    const { issuer, ...options } = onboarded(azure, registrationId, {
      certificate: { token: tokenOptions, keyName },
    })
    const agent = await startAgent({
      ...options,
      issuer: issuerByReason({ bootstrap: issuer, roll: hubIssuer() }),
      stateFolder,
    })
    await agent.connected()
    const first = agent.status().active
    expect(first?.thumbprint).not.toBe(leaf.thumbprint)
    const telemetry = keepSending(azure, agent)
    await telemetry.acknowledged(10)
    const { oldThumbprint, newThumbprint } = await agent.roll()
    expect(oldThumbprint).toBe(first?.thumbprint)
    await telemetry.acknowledged(10)
    expect((await telemetry.stop()).lost).toEqual([])
    expect(agent.status().active?.thumbprint).toBe(newThumbprint)
    // The onboarding key is nobody's to destroy, and opens no hub.
    expect(await keys.list()).toMatchObject([{ hasPrivateKey: true }])

    // What was issued is revoked: DPS goes on sending the device to its hub, and only a new certificate helps.
    const hub = cloud.hub(azure.hub)
    hub.revokeIssued(registrationId)
    const unauthorized = next(agent, 'unauthorized')
    hub.disconnect(registrationId)
    await unauthorized
    await agent.stop()
    const onlyDps = await startAgent({ ...options, issuer, stateFolder })
    await next(onlyDps, 'unauthorized')
    const { generation } = await onlyDps.roll({ mode: 'breach' })
    expect(generation).toBe(3)
    await onlyDps.send({ body: 'on what DPS has issued' })
  })
})
