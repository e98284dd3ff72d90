/** What `sim/README.md` says about pointing the official SDKs at a cloud, as it stands there. */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { join, resolve } from 'node:path'
import { text } from 'node:stream/consumers'
import { Client, Message, X509AuthenticationProvider } from 'azure-iot-device'
import { Mqtt, MqttWs } from 'azure-iot-device-mqtt'
import { Http as HttpBase } from 'azure-iot-http-base'
import { MqttBase } from 'azure-iot-mqtt-base'
import { ProvisioningDeviceClient, type RegistrationResult } from 'azure-iot-provisioning-device'
import { Http } from 'azure-iot-provisioning-device-http'
import provisioningMqtt from 'azure-iot-provisioning-device-mqtt'
import iothub from 'azure-iothub'
import { X509Security } from 'azure-iot-security-x509'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { mayHaveOwnNames, startOwnNames, type OwnNames } from '../support/own-names.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createDevice, deviceClient, type Device } from './devices.ts'
import { pointedAt, provisioningService } from './service-clients.ts'

const readme = readFileSync(resolve(import.meta.dirname, '../../sim/README.md'), 'utf8')

/** The programs of the README by their names, which stand in their first lines. */
const programs = new Map(
  [...readme.matchAll(/^```js\n\/\/ (\S+\.mjs)\n(.*?)^```$/gms)].map(([, name, body]) => [name, body ?? '']),
)

describe.skipIf(!mayHaveOwnNames)('under the host names of Azure, unchanged', () => {
  let names: OwnNames
  let device: Device

  beforeAll(async () => {
    if (!mayHaveOwnNames) return
    names = await startOwnNames({ hubs: ['hub-a'] })
    device = await createDevice(await TestAuthority.createRoot({ commonName: 'readme root' }), 'device-1')
  })
  afterAll(async () => {
    if (mayHaveOwnNames) await names.close()
  })

  /** Runs a program of the README to its end. @returns what it has written, line by line */
  async function run(name: string): Promise<readonly string[]> {
    const { cloud } = names
    const folder = await temporaryFolder()
    const [certificateFile, keyFile] = [join(folder, 'certificate.pem'), join(folder, 'key.pem')]
    await writeFile(certificateFile, device.chain)
    await writeFile(keyFile, device.key)
    const program = names.run(programs.get(name) ?? '', {
      type: 'module',
      env: {
        CERTIFICATE_FILE: certificateFile,
        KEY_FILE: keyFile,
        ID_SCOPE: cloud.idScope,
        DPS_CONNECTION_STRING: cloud.dps.connectionString,
        HUB_CONNECTION_STRING: cloud.hub('hub-a').connectionString,
        DEVICE_CONNECTION_STRING: 'HostName=hub-a.azure-devices.net;DeviceId=device-1;x509=true',
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const ended = once(program, 'exit')
    const written = program.stdout === null ? '' : await text(program.stdout)
    expect(await ended).toEqual([0, null])
    return written.trimEnd().split('\n')
  }

  it('finds every program that the table names', () => {
    expect([...programs.keys()]).toEqual(['enroll.mjs', 'register.mjs', 'send.mjs', 'look-after.mjs'])
  })

  it('enroll.mjs', async () => {
    await run('enroll.mjs')
    expect(names.cloud.dps.enrollments.get('device-1')).toBeDefined()
  })

  it('register.mjs', async () => {
    expect(await run('register.mjs')).toEqual(
      ['Mqtt', 'MqttWs', 'Http'].map((transport) => `${transport} device-1 hub-a.azure-devices.net`),
    )
  })

  it('send.mjs', async () => {
    await run('send.mjs')
    const bodies = names.cloud.hub('hub-a').messages.map(({ body }) => body.toString())
    expect(bodies).toEqual(['over Mqtt', 'over MqttWs'])
  })

  it('look-after.mjs', async () => {
    const { cloud } = names
    const client = await deviceClient(cloud, 'hub-a.azure-devices.net', device)
    await client.open()
    client.onDeviceMethod('reprovision', (_request, response) => void response.send(202))
    const done = cloud.waitFor('jobChanged', ({ status }) => status === 'completed')
    expect(await run('look-after.mjs')).toEqual(['enabled 202'])
    await done
    expect(cloud.hub('hub-a').twin('device-1').tags).toEqual({ site: 'south' })
    await client.close()
  })
})

describe('with options, on any port', () => {
  let cloud: SimulatedCloud
  let device: Device

  beforeAll(async () => {
    cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
    device = await createDevice(await TestAuthority.createRoot({ commonName: 'readme root' }), 'device-1')
    cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { primary: device.certificate } })
    cloud.hub('hub-a').registry.create({
      deviceId: 'device-1',
      authentication: {
        type: 'selfSigned',
        x509Thumbprint: { primaryThumbprint: device.thumbprint },
      },
    })
    cloud.hub('hub-a').registry.create({ deviceId: 'keyed-1', authentication: { type: 'sas' } })
  })
  afterAll(() => cloud.close())

  it.each<[transport: string, client: () => Promise<Client>]>([
    [
      'Mqtt, a certificate',
      async () => {
        const { ca, gatewayHostName } = cloud.clientOptions()
        const credentials = {
          host: 'hub-a.azure-devices.net',
          deviceId: 'device-1',
          x509: { cert: device.chain, key: device.key },
          gatewayHostName,
        }
        const client = Client.fromAuthenticationProvider(new X509AuthenticationProvider(credentials), Mqtt)
        await client.setOptions({ ca })
        return client
      },
    ],
    [
      'Mqtt, a key',
      async () => {
        const { ca, gatewayHostName } = cloud.clientOptions()
        const connectionString = cloud.hub('hub-a').deviceConnectionString('keyed-1')
        const client = Client.fromConnectionString(
          `${connectionString};GatewayHostName=${gatewayHostName}`,
          Mqtt,
        )
        await client.setOptions({ ca })
        return client
      },
    ],
    [
      'MqttWs',
      async () => {
        const { webSocketAgent } = cloud.clientOptions()
        const client = Client.fromConnectionString(
          'HostName=hub-a.azure-devices.net;DeviceId=device-1;x509=true',
          MqttWs,
        )
        await client.setOptions({ mqtt: { webSocketAgent }, cert: device.chain, key: device.key })
        return client
      },
    ],
  ])('azure-iot-device, %s', async (transport, make) => {
    const client = await make()
    onTestFinished(async () => {
      await client.close()
    })
    const arrived = cloud.waitFor('telemetry')
    await client.open()
    await client.sendEvent(new Message(`over ${transport}`))
    expect((await arrived).body.toString()).toBe(`over ${transport}`)
  })

  // The provisioning transports have copies of the packages below them, and so other types.
  type Transport = Parameters<typeof ProvisioningDeviceClient.create>[2]
  it.each<[transport: string, host: () => string, make: () => Transport]>([
    [
      'Mqtt',
      () => cloud.clientOptions().gatewayHostName,
      () => {
        const base = new MqttBase()
        base.setOptions({ ca: cloud.clientOptions().ca })
        return new provisioningMqtt.Mqtt(base as never)
      },
    ],
    [
      'MqttWs',
      () => cloud.provisioningHost,
      () => {
        const base = new MqttBase()
        base.setOptions({ mqtt: { webSocketAgent: cloud.clientOptions().webSocketAgent } })
        return new provisioningMqtt.MqttWs(base as never)
      },
    ],
    [
      'Http',
      () => cloud.provisioningHost,
      () => {
        const base = new HttpBase()
        base.setOptions({ http: { agent: cloud.clientOptions().agent } })
        return new Http(base as never)
      },
    ],
  ])('azure-iot-provisioning-device, %s', async (_transport, host, make) => {
    const security = new X509Security('device-1', { cert: device.chain, key: device.key })
    const client = ProvisioningDeviceClient.create(host(), cloud.idScope, make(), security)
    const registered = (await client.register()) as unknown as RegistrationResult
    expect(registered).toMatchObject({ status: 'assigned', deviceId: 'device-1' })
  })

  it('azure-iot-provisioning-service', async () => {
    const { responseBody } = await provisioningService(cloud).getIndividualEnrollment('device-1')
    expect(responseBody.registrationId).toBe('device-1')
  })

  it('azure-iothub: Registry, Twin, Client and JobClient', async () => {
    const { connectionString } = cloud.hub('hub-a')
    const registry = pointedAt(cloud, iothub.Registry.fromConnectionString(connectionString))
    const { responseBody: twin } = await registry.getTwin('device-1')
    await twin.update({ tags: { site: 'north' } })
    expect(cloud.hub('hub-a').twin('device-1').tags).toEqual({ site: 'north' })
    const service = pointedAt(cloud, iothub.Client.fromConnectionString(connectionString))
    const method = { methodName: 'reprovision', payload: null }
    await expect(service.invokeDeviceMethod('device-1', method)).rejects.toThrow('Not found')
    const jobs = pointedAt(cloud, iothub.JobClient.fromConnectionString(connectionString))
    await expect(jobs.getJob('nothing')).rejects.toThrow(/JobNotFound|Not found/)
  })
})
