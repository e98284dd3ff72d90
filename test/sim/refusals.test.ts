import { once } from 'node:events'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bareClient, createDevice, dpsUserName, openTls, register } from './devices.ts'
import { rawHttp, type RawAnswer } from './raw-http.ts'
import { provisioningService } from './service-clients.ts'
import { storageKey } from './software-tpm.ts'

/** Operations of the conformance table in sim/README.md that have no other test: most of them are refused. */
let cloud: SimulatedCloud
let root: TestAuthority

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'root' })
  cloud.dps.groups.put({ enrollmentGroupId: 'all', attestation: { primary: root.certificate } })
})
afterAll(() => cloud.close())

it('a TPM cannot register over MQTT', async () => {
  const registrationId = 'tpm-over-mqtt'
  const [endorsementKey, storageRootKey] = [storageKey().base64, storageKey().base64]
  await provisioningService(cloud).createOrUpdateIndividualEnrollment({
    registrationId,
    attestation: { type: 'tpm', tpm: { endorsementKey } },
  } as never)
  const client = bareClient(cloud, undefined, {
    clientId: registrationId,
    username: dpsUserName(cloud, registrationId),
  })
  await once(client, 'connect')
  await new Promise((done) => client.subscribe('$dps/registrations/res/#', { qos: 1 }, done))
  const answered = once(client, 'message') as Promise<[string, Buffer]>
  client.publish(
    '$dps/registrations/PUT/iotdps-register/?$rid=1',
    JSON.stringify({ registrationId, tpm: { endorsementKey, storageRootKey } }),
    { qos: 1 },
  )
  const [topic, payload] = await answered
  client.end(true)
  expect(topic).toMatch(/^\$dps\/registrations\/res\/401\/\?\$rid=1/)
  expect(JSON.parse(payload.toString())).toMatchObject({ errorCode: 401002 })
  expect(cloud.hubs.every((hub) => hub.registry.get(registrationId) === undefined)).toBe(true)
})

describe('the status of a registration over HTTPS', () => {
  const status = async (id: string, shown?: Parameters<typeof register>[1]): Promise<RawAnswer> =>
    rawHttp(cloud, {
      host: cloud.provisioningHost,
      method: 'POST',
      path: `/${cloud.idScope}/registrations/${id}?api-version=2021-06-01`,
      body: { registrationId: id },
      ...(shown === undefined ? {} : { device: shown }),
    })

  it('is told to the device alone, once it has registered', async () => {
    const device = await createDevice(root, 'status-1')
    expect(await status(device.id, device)).toMatchObject({ status: 404, json: { errorCode: 404202 } })
    await register(cloud, device)
    expect(await status(device.id, device)).toMatchObject({
      status: 200,
      json: {
        registrationId: device.id,
        deviceId: device.id,
        status: 'assigned',
        substatus: 'initialAssignment',
      },
    })
    expect(await status(device.id)).toMatchObject({ status: 401, json: { errorCode: 401002 } })
    const other = await createDevice(root, 'status-2')
    expect(await status(device.id, other)).toMatchObject({ status: 401, json: { errorCode: 401002 } })
  })
})

it.each([
  ['GET', ''],
  ['POST', '/listkeys'],
  ['GET', '/linkedHubs'],
])('the resource itself is not to be had over ARM: %s %s', async (method, rest) => {
  const answer = await rawHttp(cloud, {
    host: 'management.azure.com',
    method,
    path: `/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/leafkeeper${rest}?api-version=2022-12-12`,
    headers: { authorization: `Bearer ${cloud.managementToken}` },
  })
  expect(answer.status).toBe(404)
  expect(answer.headers['content-type']).toMatch(/json/)
})

it.each(['dps', 'hub'])(
  'AMQP to a %s is refused as what is neither MQTT nor HTTP, and ends the connection',
  async (service) => {
    const [hub] = cloud.hubs
    const name = service === 'dps' ? cloud.provisioningHost : (hub?.hostName ?? '')
    const socket = openTls(cloud, name)
    const received: Buffer[] = []
    socket.on('data', (chunk: Buffer) => received.push(chunk))
    await once(socket, 'secureConnect')
    const closed = once(socket, 'close')
    socket.on('error', () => undefined).write(Buffer.from('AMQP\x03\x01\x00\x00', 'latin1'))
    await closed
    expect(Buffer.concat(received).toString()).toMatch(/^HTTP\/1\.1 400 .*connection: close/s)
  },
)
