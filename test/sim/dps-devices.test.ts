import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Http as HttpBase } from 'azure-iot-http-base'
import { MqttBase } from 'azure-iot-mqtt-base'
import { ProvisioningDeviceClient, type RegistrationResult } from 'azure-iot-provisioning-device'
import { Http } from 'azure-iot-provisioning-device-http'
import { Mqtt } from 'azure-iot-provisioning-device-mqtt'
import { SymmetricKeySecurityClient } from 'azure-iot-security-symmetric-key'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { derivedKey } from '../../sim/dps/derived-key.ts'
import { createDevice, register, type Device } from './devices.ts'
import { rawHttp } from './raw-http.ts'

let cloud: SimulatedCloud
let root: TestAuthority

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'device root' })
})
afterAll(() => cloud.close())

type Security = Parameters<typeof ProvisioningDeviceClient.create>[3]

function x509Security(device: Device): Security {
  return {
    getRegistrationId: () => device.id,
    getCertificate: (done: (error?: Error, x509?: { cert: string; key: string }) => void) => {
      done(undefined, { cert: device.chain, key: device.key })
    },
  }
}

// The security packages have a copy of azure-iot-common of their own, and so other types.
function keySecurity(registrationId: string, key: string): Security {
  return new SymmetricKeySecurityClient(registrationId, key) as unknown as Security
}

async function overHttps(security: Security): Promise<RegistrationResult> {
  const base = new HttpBase()
  base.setOptions({ http: { agent: cloud.clientOptions().agent } })
  // The provisioning transport has a copy of azure-iot-http-base of its own, and so another type.
  const http = new Http(base as unknown as ConstructorParameters<typeof Http>[0])
  const client = ProvisioningDeviceClient.create(cloud.provisioningHost, cloud.idScope, http, security)
  return client.register() as Promise<RegistrationResult>
}

async function overMqtt(security: Security): Promise<RegistrationResult> {
  const base = new MqttBase()
  base.setOptions({ ca: cloud.trustedAuthorities })
  const transport = new Mqtt(base as unknown as ConstructorParameters<typeof Mqtt>[0])
  return ProvisioningDeviceClient.create(
    cloud.address,
    cloud.idScope,
    transport,
    security,
  ).register() as Promise<RegistrationResult>
}

describe('over HTTPS', () => {
  it('registers a device by its certificate', async () => {
    cloud.dps.groups.put({ enrollmentGroupId: 'https', attestation: { primary: root.certificate } })
    const device = await createDevice(root, 'https-1')
    expect(await overHttps(x509Security(device))).toMatchObject({
      status: 'assigned',
      deviceId: device.id,
    })
  })

  it('tells with 202, Retry-After and Location where to ask', async () => {
    const device = await createDevice(root, 'https-2')
    const path = `/${cloud.idScope}/registrations/${device.id}/register?api-version=2019-03-31`
    const host = cloud.provisioningHost
    const answer = await rawHttp(cloud, {
      host,
      method: 'PUT',
      path,
      device,
      body: { registrationId: device.id },
    })
    expect(answer).toMatchObject({ status: 202, headers: { 'retry-after': '0' } })
    const location = answer.headers['location'] as string
    expect(await rawHttp(cloud, { host, path: location, device })).toMatchObject({
      status: 200,
      json: { status: 'assigned' },
    })
    expect((await rawHttp(cloud, { host, path: location })).status).toBe(401)
    const stranger = await createDevice(root, 'https-3')
    expect((await rawHttp(cloud, { host, path: location, device: stranger })).status).toBe(401)
  })

  it.each([
    ['malformed JSON', '{', 400],
    ['another name in the body', { registrationId: 'somebody' }, 401],
    ['a body that is too large', 'x'.repeat(400_000), 413],
  ])('refuses %s', async (_what, body, status) => {
    const device = await createDevice(root, 'https-4')
    const path = `/${cloud.idScope}/registrations/${device.id}/register?api-version=2019-03-31`
    const answer = await rawHttp(cloud, { host: cloud.provisioningHost, method: 'PUT', path, device, body })
    expect(answer.status).toBe(status)
    expect(answer.json['errorCode']).toBeGreaterThan(status * 1000 - 1)
    expect(answer.headers['x-ms-error-code']).toBe(String(answer.json['errorCode']))
    expect(cloud.dps.registrations.get(device.id)).toBeUndefined()
  })

  it('throttles with 429 and the seconds until the next minute', async () => {
    cloud.dps.limits = { deviceRequestsPerMinute: 0 }
    const path = `/${cloud.idScope}/registrations/x/register?api-version=2019-03-31`
    const answer = await rawHttp(cloud, { host: cloud.provisioningHost, method: 'PUT', path, body: {} })
    cloud.dps.limits = {}
    expect(answer.status).toBe(429)
    expect(Number(answer.headers['retry-after'])).toBeGreaterThan(0)
  })
})

describe('by symmetric key', () => {
  const groupKey = Buffer.alloc(64, 7).toString('base64')
  const ownKey = Buffer.alloc(32, 1).toString('base64')
  const wrongKey = Buffer.alloc(32, 9).toString('base64')

  it.each([
    ['over HTTPS', overHttps],
    ['over MQTT', overMqtt],
  ])('registers one of its own, and one of a group, %s', async (what, registerBy) => {
    const suffix = what.slice(-5).toLowerCase().trim()
    const [own, grouped] = [`own-${suffix}`, `grouped-${suffix}`]
    cloud.dps.enrollments.put({
      registrationId: own,
      attestation: { type: 'symmetricKey', primaryKey: wrongKey, secondaryKey: ownKey },
    })
    cloud.dps.groups.put({
      enrollmentGroupId: 'keys',
      attestation: { type: 'symmetricKey', primaryKey: groupKey },
    })
    expect(await registerBy(keySecurity(own, ownKey))).toMatchObject({
      status: 'assigned',
    })
    const key = derivedKey(groupKey, grouped)
    const { assignedHub } = await registerBy(keySecurity(grouped, key))
    expect(cloud.hub(assignedHub).registry.get(grouped)?.authentication).toMatchObject({
      type: 'sas',
      symmetricKey: { primaryKey: key },
    })
    await expect(registerBy(keySecurity(grouped, wrongKey))).rejects.toMatchObject({
      name: 'UnauthorizedError',
    })
  })

  it('refuses a certificate where the entry has a key, also when a group would take it', async () => {
    const device = await createDevice(root, 'keyed-1')
    const entry = { registrationId: device.id, attestation: { type: 'symmetricKey' as const } }
    cloud.dps.enrollments.put(entry)
    await expect(register(cloud, device)).rejects.toMatchObject({ result: { errorCode: 401002 } })
    cloud.dps.enrollments.put({ ...entry, provisioningStatus: 'disabled' })
    await expect(register(cloud, device)).rejects.toMatchObject({ result: { errorCode: 401002 } })
  })
})

describe('allocation', () => {
  it('follows weights, latency, and the hubs that an entry names', async () => {
    cloud.dps.linkedHubs.set('hub-a.azure-devices.net', { allocationWeight: 0, latencyMs: 9 })
    const hubOf = async (id: string, options: object): Promise<string> => {
      const device = await createDevice(root, id)
      cloud.dps.enrollments.put({
        registrationId: id,
        attestation: { primary: device.certificate },
        ...options,
      })
      return (await register(cloud, device)).assignedHub
    }
    for (const id of ['weight-1', 'weight-2', 'weight-3']) expect(await hubOf(id, {})).toContain('hub-b')
    expect(await hubOf('near-1', { allocationPolicy: 'geoLatency' })).toContain('hub-b')
    const iotHubs = ['hub-a.azure-devices.net']
    expect(await hubOf('named-hubs-1', { iotHubs })).toContain('hub-a')
    cloud.dps.linkedHubs.set('hub-a.azure-devices.net')
  })

  it('gives a new device its initial twin', async () => {
    const device = await createDevice(root, 'twin-1')
    cloud.dps.enrollments.put({
      registrationId: device.id,
      attestation: { primary: device.certificate },
      initialTwin: { properties: { desired: { interval: 7 } } },
    })
    const { assignedHub } = await register(cloud, device)
    expect(cloud.hub(assignedHub).twin(device.id).desired).toMatchObject({ interval: 7 })
  })

  it('asks a webhook on loopback, passes its payload on, and fails when it does', async () => {
    const heard: string[] = []
    let answer: object = { iotHubHostName: 'hub-b.azure-devices.net', payload: { hello: 'device' } }
    const server = createServer((request, response) => {
      request.on('data', (chunk: Buffer) => heard.push(chunk.toString()))
      request.on('end', () => response.end(JSON.stringify(answer)))
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const webhookUrl = `http://127.0.0.1:${String((server.address() as AddressInfo).port)}/allocate`
    const device = await createDevice(root, 'custom-1')
    const entry = {
      registrationId: device.id,
      attestation: { primary: device.certificate },
      allocationPolicy: 'custom' as const,
      customAllocationDefinition: { webhookUrl, apiVersion: '2019-03-31' },
    }
    cloud.dps.enrollments.put(entry)
    expect(await register(cloud, device)).toMatchObject({
      assignedHub: 'hub-b.azure-devices.net',
      payload: { hello: 'device' },
    })
    expect(JSON.parse(heard.join(''))).toMatchObject({
      deviceRuntimeContext: { registrationId: device.id },
      linkedHubs: ['hub-a.azure-devices.net', 'hub-b.azure-devices.net'],
    })
    answer = { iotHubHostName: 'elsewhere.azure-devices.net' }
    await expect(register(cloud, device)).rejects.toMatchObject({
      name: 'ProvisioningRegistrationFailedError',
      result: { registrationState: { status: 'failed', errorCode: 400208 } },
    })
    server.close()
    const away = {
      ...entry,
      customAllocationDefinition: { webhookUrl: 'https://example.com/', apiVersion: 'x' },
    }
    expect(() => cloud.dps.enrollments.put(away)).toThrow('loopback')
  })
})
