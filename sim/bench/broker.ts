import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createSecureContext, type SecureContext } from 'node:tls'
import { generateKeyFile } from '../pki/keys.ts'
import { createServerCredential } from '../pki/server-certificate.ts'
import { TestAuthority } from '../pki/test-authority.ts'
import type { HubReady } from './hub-process.ts'
import { startMosquitto, type RunningBroker } from './mosquitto.ts'
import { connectsPerSecond, messagesPerSecond, type BrokerLogin } from './mqtt-load.ts'
import { median } from './statistics.ts'

/** One simulated hub against mosquitto: same client, same client certificates, same run. */
export interface BrokerRatios {
  /** Mutual-TLS connects a second, with CONNECT and CONNACK. */
  readonly simConnectRatio: number
  /** QoS 1 messages a second, acknowledged. */
  readonly simMessageRatio: number
}

const rounds = 9
const sessions = 4
const connectsARound = 300
const messagesARound = 20_000
const window = 100
const messageBytes = 256

/** The two take turns in short rounds, and each round gives one ratio. */
export async function measureBroker(): Promise<BrokerRatios> {
  const authority = await TestAuthority.createRoot({ commonName: 'bench root' })
  const devices = await Promise.all(
    Array.from({ length: sessions }, async (_, index) => {
      const deviceId = `bench-${index}`
      const key = await generateKeyFile('P-256')
      const leaf = await authority.issueLeaf({ publicKey: key.publicKey, commonName: deviceId })
      return { deviceId, key: key.privateKeyPem, chain: leaf.chain, thumbprint: leaf.thumbprint }
    }),
  )
  const server = await createServerCredential(['localhost'])
  const mosquitto = await startMosquitto(server, authority.certificate)
  try {
    const hub = await startHub(devices)
    try {
      const contextOf = (device: (typeof devices)[number], ca: string): SecureContext =>
        createSecureContext({ cert: device.chain, key: device.key, ca })
      const hubLogins = devices.map((device): BrokerLogin => ({
        port: hub.port,
        servername: hub.hostName,
        secureContext: contextOf(device, hub.trustedAuthorities),
        deviceId: device.deviceId,
        userName: `${hub.hostName}/${device.deviceId}/?api-version=2021-04-12`,
      }))
      const mosquittoLogins = devices.map((device, index): BrokerLogin => ({
        port: mosquitto.port,
        servername: 'localhost',
        secureContext: contextOf(device, server.authority),
        deviceId: device.deviceId,
        userName: hubLogins[index]?.userName ?? '',
      }))
      const connect = (logins: readonly BrokerLogin[]): Promise<number> =>
        connectsPerSecond(logins, connectsARound)
      const publish = (logins: readonly BrokerLogin[]): Promise<number> =>
        messagesPerSecond(logins, messagesARound, window, messageBytes)
      // The first round of each is for the just-in-time compiler.
      for (const measure of [connect, publish])
        for (const logins of [hubLogins, mosquittoLogins]) await measure(logins)
      const connects: number[] = []
      const messages: number[] = []
      for (let round = 0; round < rounds; round += 1) {
        connects.push((await connect(hubLogins)) / (await connect(mosquittoLogins)))
        messages.push((await publish(hubLogins)) / (await publish(mosquittoLogins)))
      }
      return { simConnectRatio: median(connects), simMessageRatio: median(messages) }
    } finally {
      await hub.stop()
    }
  } finally {
    await mosquitto.stop()
  }
}

async function startHub(
  devices: readonly { readonly deviceId: string; readonly thumbprint: string }[],
): Promise<RunningBroker & HubReady> {
  const child = fork(new URL('./hub-process.js', import.meta.url), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  const ended = once(child, 'exit')
  child.send({ devices: devices.map(({ deviceId, thumbprint }) => ({ deviceId, thumbprint })) })
  const [ready] = (await Promise.race([
    once(child, 'message'),
    ended.then(([code]) => {
      throw new Error(`The hub's process ended with ${String(code)}.`)
    }),
  ])) as [HubReady]
  return {
    ...ready,
    stop: async () => {
      child.disconnect()
      await ended
    },
  }
}
