import { performance } from 'node:perf_hooks'
import azureCommon from 'azure-iot-common'
import azureDevice from 'azure-iot-device'
import azureDeviceMqtt from 'azure-iot-device-mqtt'
import { DeviceAgent, dpsOverMqtt, functionIssuer, hubOverMqtt, type OpenTokenOptions } from 'leafkeeper'
import { SimulatedCloud } from '../cloud.ts'
import type { CloudOptions } from '../cloud/options.ts'
import { generateKeyFile } from '../pki/keys.ts'
import { TestAuthority } from '../pki/test-authority.ts'
import { TelemetrySource } from '../story/telemetry-source.ts'
import { median } from './statistics.ts'

/** Medians, in milliseconds, over the same run. */
export interface BlackoutFigures {
  /** A plain `open()` of the official device client with a key file: TCP, TLS and MQTT CONNECT. */
  readonly openMs: number
  /** Time without a usable hub connection during a roll. */
  readonly blackoutMs: number
  /** Of the rolls and opens, pair by pair. */
  readonly blackoutRatio: number
}

const pairs = 25

/** Rolls and plain opens in turn, while a hundred messages a second are sent. */
export async function measureBlackout(
  token: OpenTokenOptions,
  onRecordReplaced: NonNullable<CloudOptions['onRecordReplaced']>,
): Promise<BlackoutFigures> {
  const cloud = await SimulatedCloud.start({ onRecordReplaced })
  const authority = await TestAuthority.createRoot({ commonName: 'bench root' })
  const agent = await startAgent(cloud, authority, token, `bench-${onRecordReplaced}`)
  const telemetry = new TelemetrySource(agent, 10)
  try {
    await agent.connected()
    const open = await plainClient(cloud, authority)
    const opens: number[] = []
    const blackouts: number[] = []
    for (let pair = 0; pair < pairs; pair += 1) {
      const { blackoutMs } = await agent.roll()
      if (blackoutMs === null) throw new Error('A roll had no connection to replace.')
      blackouts.push(blackoutMs)
      opens.push(await open())
    }
    await telemetry.stop()
    requireAll(cloud, telemetry, agent)
    const ratios = blackouts.map((blackout, index) => blackout / (opens[index] ?? Number.NaN))
    return { openMs: median(opens), blackoutMs: median(blackouts), blackoutRatio: median(ratios) }
  } finally {
    await agent.stop()
    await telemetry.stop()
    await cloud.close()
  }
}

/** A blackout that loses messages is not worth measuring. */
function requireAll(cloud: SimulatedCloud, telemetry: TelemetrySource, agent: DeviceAgent): void {
  const { registrationId } = agent.status()
  const arrived = cloud.hubs
    .flatMap(({ messages }) => messages)
    .filter(({ deviceId }) => deviceId === registrationId)
  const received = new Set(arrived.map(({ systemProperties }) => systemProperties.messageId)).size
  if (received !== telemetry.sent)
    throw new Error(`${telemetry.sent} messages were sent, ${received} arrived.`)
}

async function startAgent(
  cloud: SimulatedCloud,
  authority: TestAuthority,
  token: OpenTokenOptions,
  registrationId: string,
): Promise<DeviceAgent> {
  cloud.dps.groups.put({ enrollmentGroupId: registrationId, attestation: { primary: authority.certificate } })
  const network = { trustedAuthorities: cloud.trustedAuthorities, connectTo: cloud.connectTo }
  return DeviceAgent.start({
    registrationId,
    token,
    provisioning: dpsOverMqtt({
      provisioningHost: cloud.provisioningHost,
      idScope: cloud.idScope,
      ...network,
    }),
    hub: hubOverMqtt(network),
    issuer: functionIssuer('bench authority', async ({ csr }) => (await authority.issueLeaf({ csr })).chain),
    policy: { overlapMs: 0 },
  })
}

/** Gives a function that opens a new official client, and returns how long that took, in milliseconds. */
async function plainClient(cloud: SimulatedCloud, authority: TestAuthority): Promise<() => Promise<number>> {
  const deviceId = 'bench-plain'
  const key = await generateKeyFile('P-256')
  const { chain, thumbprint } = await authority.issueLeaf({ publicKey: key.publicKey, commonName: deviceId })
  const [hub] = cloud.hubs
  if (hub === undefined) throw new Error('The cloud has no hub.')
  hub.registry.create({
    deviceId,
    authentication: {
      type: 'selfSigned',
      x509Thumbprint: { primaryThumbprint: thumbprint, secondaryThumbprint: null },
    },
  })
  return async () => {
    const provider = new azureDevice.X509AuthenticationProvider({
      host: hub.hostName,
      gatewayHostName: cloud.address,
      deviceId,
      x509: { cert: chain, key: key.privateKeyPem },
    })
    const client = azureDevice.Client.fromAuthenticationProvider(provider, azureDeviceMqtt.Mqtt)
    await client.setOptions({ ca: cloud.trustedAuthorities })
    client.setRetryPolicy(new azureCommon.NoRetry())
    const begun = performance.now()
    await client.open()
    const took = performance.now() - begun
    await client.close()
    return took
  }
}
