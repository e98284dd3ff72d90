/** Devices that ask a hub for certificates over MQTT, byte by byte. */
import { once } from 'node:events'
import type mqtt from 'mqtt'
import { onTestFinished } from 'vitest'
import { generateKeyFile, type JsonObject, type SimulatedCloud, type SimulatedHub } from 'leafkeeper-sim'
import { Pkcs10CertificateRequestGenerator } from '../../sim/pki/x509.ts'
import { bareClient, type Device } from './devices.ts'

export const credentialResults = '$iothub/credentials/res/#'

/** A PKCS#10 request for a fresh key, in Base64. */
export async function requestFor(
  commonName: string,
): Promise<{ readonly csr: string; readonly key: string }> {
  const { publicKey, privateKey, privateKeyPem } = await generateKeyFile()
  const request = await Pkcs10CertificateRequestGenerator.create({
    name: [{ CN: [commonName] }],
    keys: { publicKey, privateKey },
    signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
  })
  return { csr: Buffer.from(request.rawData).toString('base64'), key: privateKeyPem }
}

/** The same with a signature that is wrong in its last bit. */
export async function unprovenRequestFor(commonName: string): Promise<string> {
  const der = Buffer.from((await requestFor(commonName)).csr, 'base64')
  der.writeUInt8(der.readUInt8(der.length - 1) ^ 1, der.length - 1)
  return der.toString('base64')
}

/** Certificates in Base64 of their DER, as PEM. */
export function pemOf(certificates: readonly string[]): string {
  return certificates
    .map((der) => der.replace(/.{64}(?=.)/g, '$&\n'))
    .map((lines) => `-----BEGIN CERTIFICATE-----\n${lines}\n-----END CERTIFICATE-----\n`)
    .join('')
}

export interface Answer {
  readonly topic: string
  readonly body: JsonObject
}

/** The topic of an answer. */
export const topicOf = (status: number, requestId: string): string =>
  `$iothub/credentials/res/${status}/?$rid=${requestId}`

/** A device on the credentials topics, with what it has been told so far. */
export class Asking {
  readonly client: mqtt.MqttClient
  readonly #answers: Answer[] = []
  #waiting: ((answer: Answer) => void) | undefined

  constructor(client: mqtt.MqttClient) {
    this.client = client
    client.on('message', (topic: string, payload: Buffer) => {
      const answer = { topic, body: JSON.parse(payload.toString()) as JsonObject }
      if (this.#waiting === undefined) this.#answers.push(answer)
      else this.#waiting(answer)
      this.#waiting = undefined
    })
  }

  /** What has come and was not taken. */
  get untaken(): number {
    return this.#answers.length
  }

  async subscribe(): Promise<void> {
    await new Promise((done) => this.client.subscribe(credentialResults, { qos: 1 }, done))
  }

  async unsubscribe(): Promise<void> {
    await new Promise((done) => this.client.unsubscribe(credentialResults, {}, done))
  }

  ask(requestId: string, body: unknown): void {
    this.publish(`?$rid=${requestId}`, typeof body === 'string' ? body : JSON.stringify(body))
  }

  publish(rest: string, body: string): void {
    this.client.publish(`$iothub/credentials/POST/issueCertificate/${rest}`, body, { qos: 1 })
  }

  async next(): Promise<Answer> {
    const first = this.#answers.shift()
    return first ?? new Promise((resolve) => (this.#waiting = resolve))
  }

  /** Resolves when the hub has gone through everything that was sent to it. */
  async settled(): Promise<void> {
    const { client } = this
    await new Promise((done) =>
      client.publish(`devices/${client.options.clientId ?? ''}/messages/events/`, '', { qos: 1 }, done),
    )
  }
}

/** Connects a device; its connection ends with the test. */
export async function asking(
  cloud: SimulatedCloud,
  hub: SimulatedHub,
  device: Device,
  options: { readonly clean?: boolean; readonly subscribe?: boolean } = {},
): Promise<Asking> {
  const client = bareClient(cloud, device, {
    clientId: device.id,
    username: `${hub.hostName}/${device.id}/?api-version=2025-08-01-preview`,
    clean: options.clean ?? true,
  })
  onTestFinished(() => void client.end(true))
  const asker = new Asking(client)
  await once(client, 'connect')
  if (options.subscribe !== false) await asker.subscribe()
  return asker
}
