/** The hub's own certificates (preview), asked for over MQTT as a device does. */
import { once } from 'node:events'
import { connect } from 'node:tls'
import { LeafkeeperError, type DeviceCredential, type IssueRequest } from 'leafkeeper'
import mqtt from 'mqtt'
import type { Azure } from './azure.ts'

const results = '$iothub/credentials/res/'

/**
 * Asks the hub for a certificate, on a connection of its own with the device's present credential, which ends an
 * older one of that device. Gives the chain as PEM.
 *
 * @throws LeafkeeperError `ISSUER_UNAVAILABLE` when the connection ends first, `ISSUER_REFUSED` for an error of the hub
 */
export async function issueByHub(
  azure: Azure,
  credential: DeviceCredential,
  { csr, commonName, requestId }: IssueRequest,
): Promise<string> {
  const client = openMqtt(azure, credential)
  try {
    const answered = answerTo(client, requestId)
    const subscribed = once(client, 'connect').then(
      async () => new Promise((done) => client.subscribe(`${results}#`, { qos: 1 }, done)),
    )
    // A connection that ends meanwhile is told by the answer alone.
    await Promise.race([subscribed, answered])
    const body = JSON.stringify({ id: commonName, csr: csr.replace(/-----[^-]+-----|\s/g, '') })
    client.publish(`$iothub/credentials/POST/issueCertificate/?$rid=${requestId}`, body, { qos: 1 })
    return await answered
  } finally {
    client.end(true)
  }
}

function openMqtt({ hub, network }: Azure, credential: DeviceCredential): mqtt.MqttClient {
  const target = network.connectTo?.['*.azure-devices.net'] ?? `${hub}:8883`
  const [host = hub, port = '8883'] = target.split(':')
  const secureContext = credential.secureContext(network.trustedAuthorities)
  return new mqtt.Client(() => connect({ host, port: Number(port), servername: hub, secureContext }), {
    protocolVersion: 4,
    reconnectPeriod: 0,
    clientId: credential.commonName,
    username: `${hub}/${credential.commonName}/?api-version=2025-08-01-preview`,
  })
}

async function answerTo(client: mqtt.MqttClient, requestId: string): Promise<string> {
  return new Promise((resolve, reject) => {
    client.on('error', (cause) => reject(new LeafkeeperError('ISSUER_UNAVAILABLE', { cause })))
    client.on('close', () =>
      reject(new LeafkeeperError('ISSUER_UNAVAILABLE', { message: 'The hub hung up.' })),
    )
    client.on('message', (topic: string, payload: Buffer) => {
      const [status, query] = topic.slice(results.length).split('/')
      // 202 tells that the request has become an operation.
      if (query !== `?$rid=${requestId}` || status === '202') return
      const body = payload.toString()
      if (status === '200') resolve(pemOf((JSON.parse(body) as { certificates: string[] }).certificates))
      else
        reject(
          new LeafkeeperError('ISSUER_REFUSED', { message: `The hub answered ${status ?? ''}: ${body}` }),
        )
    })
  })
}

function pemOf(certificates: readonly string[]): string {
  return certificates
    .map(
      (der) =>
        `-----BEGIN CERTIFICATE-----\n${der.replace(/.{64}(?=.)/g, '$&\n')}\n-----END CERTIFICATE-----\n`,
    )
    .join('')
}
