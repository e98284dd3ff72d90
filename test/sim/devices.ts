/** Devices that keep their key in a file and use the official SDKs as they are. */
import { Client, X509AuthenticationProvider } from 'azure-iot-device'
import { Mqtt } from 'azure-iot-device-mqtt'
import { NoRetry } from 'azure-iot-common'
import { MqttBase } from 'azure-iot-mqtt-base'
import { ProvisioningDeviceClient, type RegistrationResult } from 'azure-iot-provisioning-device'
import { Mqtt as ProvisioningMqtt } from 'azure-iot-provisioning-device-mqtt'
import mqtt from 'mqtt'
import { connect, type TLSSocket } from 'node:tls'
import { generateKeyFile, type LeafOrder, type SimulatedCloud, type TestAuthority } from 'leafkeeper-sim'

/** A name, a certificate chain and the key for it. */
export interface Device {
  readonly id: string
  /** Leaf first, as PEM. */
  readonly chain: string
  readonly key: string
  /** The leaf alone, as PEM. */
  readonly certificate: string
  readonly thumbprint: string
}

/** Makes a key file and has its certificate signed; `order` makes it a wrong one. */
export async function createDevice(
  authority: TestAuthority,
  id: string,
  order: LeafOrder = {},
): Promise<Device> {
  const key = await generateKeyFile()
  const leaf = await authority.issueLeaf({ publicKey: key.publicKey, commonName: id, ...order })
  return { id, key: key.privateKeyPem, ...leaf }
}

/** Registers by the official provisioning SDK. */
export async function register(
  cloud: SimulatedCloud,
  device: Device,
  registrationId: string = device.id,
): Promise<RegistrationResult> {
  const base = new MqttBase()
  base.setOptions({ ca: cloud.trustedAuthorities })
  // The provisioning transport has a copy of azure-iot-mqtt-base of its own, and so another type.
  const transport = new ProvisioningMqtt(base as unknown as ConstructorParameters<typeof ProvisioningMqtt>[0])
  const security = {
    getRegistrationId: () => registrationId,
    getCertificate: (done: (error?: Error, x509?: { cert: string; key: string }) => void) => {
      done(undefined, { cert: device.chain, key: device.key })
    },
  }
  const client = ProvisioningDeviceClient.create(cloud.address, cloud.idScope, transport, security)
  // Declared as void too, for its callback form.
  return client.register() as Promise<RegistrationResult>
}

/** A client of the official device SDK, not yet opened, without its own retries. */
export async function deviceClient(cloud: SimulatedCloud, hub: string, device: Device): Promise<Client> {
  const provider = new X509AuthenticationProvider({
    host: hub,
    gatewayHostName: cloud.address,
    deviceId: device.id,
    x509: { cert: device.chain, key: device.key },
  })
  const client = Client.fromAuthenticationProvider(provider, Mqtt)
  client.on('error', () => undefined)
  await client.setOptions({ ca: cloud.trustedAuthorities })
  client.setRetryPolicy(new NoRetry())
  return client
}

/** Registers a device in a hub's registry by its thumbprint, without DPS. */
export function enrol(cloud: SimulatedCloud, hub: string, device: Device): void {
  cloud.hub(hub).registry.create({
    deviceId: device.id,
    authentication: {
      type: 'selfSigned',
      x509Thumbprint: { primaryThumbprint: device.thumbprint },
    },
  })
}

/** TLS to the cloud under a host name of Azure. */
export function openTls(cloud: SimulatedCloud, servername: string, device?: Device): TLSSocket {
  return connect({
    port: cloud.port,
    host: '127.0.0.1',
    servername,
    ca: cloud.trustedAuthorities,
    ...(device === undefined ? {} : { cert: device.chain, key: device.key }),
  })
}

/** A bare MQTT client: `servername` is the host of the user name unless `options` says otherwise. */
export function bareClient(
  cloud: SimulatedCloud,
  device: Device | undefined,
  options: mqtt.IClientOptions & { readonly username: string; readonly clientId: string },
): mqtt.MqttClient {
  const client = new mqtt.Client(() => openTls(cloud, 'localhost', device), {
    protocolVersion: 4,
    reconnectPeriod: 0,
    clean: true,
    ...options,
  })
  client.on('error', () => undefined)
  return client
}

/** The user name that the device SDK sends to a hub. */
export function hubUserName(hub: string, deviceId: string): string {
  return `${hub}/${deviceId}/?api-version=2021-04-12&DeviceClientType=test`
}

/** The user name that the provisioning SDK sends. */
export function dpsUserName(cloud: SimulatedCloud, registrationId: string): string {
  return `${cloud.idScope}/registrations/${registrationId}/api-version=2019-03-31&ClientVersion=test`
}
