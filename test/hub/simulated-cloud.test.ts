import { generateKeyFile, SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { hubOverMqtt } from '../../src/hub/hub-over-mqtt.ts'
import type { HubConnection, HubTransport, MethodHandler } from '../../src/hub/hub-transport.ts'
import { Outbox } from '../../src/hub/outbox.ts'
import { dpsOverMqtt } from '../../src/provisioning/dps-over-mqtt.ts'
import type { Registration } from '../../src/provisioning/provisioning-service.ts'
import type { DeviceCredential } from '../../src/transport/credential.ts'
import { credentialOf } from '../transport/support/authority.ts'

let cloud: SimulatedCloud
let authority: TestAuthority
const never = new AbortController().signal
const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  authority = await TestAuthority.createRoot({ commonName: 'hub tests' })
})
afterAll(() => cloud.close())

interface Device {
  readonly credential: DeviceCredential
  readonly certificate: string
  readonly thumbprint: string
}

async function makeDevice(id: string): Promise<Device> {
  const { publicKey, privateKeyPem } = await generateKeyFile()
  const { chain, certificate, thumbprint } = await authority.issueLeaf({ publicKey, commonName: id })
  return { credential: credentialOf(id, { certificate: chain, key: privateKeyPem }), certificate, thumbprint }
}

const enroll = (id: string, primary: Device): void =>
  void cloud.dps.enrollments.put({ registrationId: id, attestation: { primary: primary.certificate } })

const register = (device: Device): Promise<Registration> =>
  dpsOverMqtt({
    provisioningHost: cloud.provisioningHost,
    idScope: cloud.idScope,
    trustedAuthorities: cloud.trustedAuthorities,
    connectTo: cloud.connectTo,
  }).register(device.credential, never)

const transport = (): HubTransport =>
  hubOverMqtt({ trustedAuthorities: cloud.trustedAuthorities, connectTo: cloud.connectTo })

async function connect(
  { assignedHub, deviceId }: Registration,
  device: Device,
  onMethod: MethodHandler = ({ name }) => ({ status: 404, payload: { unknown: name } }),
): Promise<HubConnection> {
  const prepared = await transport().prepare({ hub: assignedHub, deviceId }, device.credential, never)
  return await prepared.connect(onMethod, never)
}

test('a device provisions, connects, sends and answers', async () => {
  const device = await makeDevice('sim-1')
  enroll('sim-1', device)
  const registration = await register(device)
  expect(registration).toMatchObject({ deviceId: 'sim-1', substatus: 'initialAssignment' })
  const connection = await connect(registration, device, ({ name, payload }) => ({
    status: name === 'known' ? 200 : 404,
    payload: { payload },
  }))
  const telemetry = cloud.waitFor('telemetry', ({ deviceId }) => deviceId === 'sim-1')
  await connection.send({ messageId: 'm-1', body: 'hello', properties: { a: 'ä' } })
  expect(await telemetry).toMatchObject({ properties: { a: 'ä' } })
  const hub = cloud.hub(registration.assignedHub)
  expect(await hub.invokeMethod('sim-1', { methodName: 'known', payload: { x: 1 } })).toEqual({
    status: 200,
    payload: { payload: { x: 1 } },
  })
  expect(await hub.invokeMethod('sim-1', { methodName: 'unknown' })).toMatchObject({ status: 404 })
  await connection.close()
})

describe('refusals', () => {
  test('DPS refuses a certificate it does not have', async () => {
    enroll('sim-2', await makeDevice('sim-2'))
    await expect(register(await makeDevice('sim-2'))).rejects.toEqual(
      withCode('DPS_UNAUTHORIZED', { reason: '401002' }),
    )
  })

  test('a hub refuses a certificate that is not in its record, and leaves the older connection alone', async () => {
    const device = await makeDevice('sim-3')
    enroll('sim-3', device)
    const registration = await register(device)
    const connection = await connect(registration, device)
    await expect(connect(registration, await makeDevice('sim-3'))).rejects.toEqual(
      withCode('HUB_UNAUTHORIZED', { reason: 'CONNACK 5' }),
    )
    await connection.send({ messageId: 'still', body: 'here' })
    await connection.close()
  })

  test('a cloud that is not reachable refuses nothing', async () => {
    const device = await makeDevice('sim-4')
    enroll('sim-4', device)
    const registration = await register(device)
    const connection = await connect(registration, device)
    await cloud.pauseListening()
    expect(await connection.ended).toEqual(withCode('HUB_CONNECTION_LOST'))
    await expect(connect(registration, device)).rejects.toEqual(withCode('NETWORK_UNREACHABLE'))
    await expect(register(device)).rejects.toEqual(withCode('NETWORK_UNREACHABLE'))
    await cloud.resumeListening()
    await (await connect(registration, device)).close()
  })
})

test('no message is lost or sent twice when another certificate takes over under load', async () => {
  const [older, newer] = [await makeDevice('sim-5'), await makeDevice('sim-5')]
  enroll('sim-5', older)
  const registration = await register(older)
  const target = { hub: registration.assignedHub, deviceId: registration.deviceId }
  const outbox = new Outbox()
  const first = await connect(registration, older)
  outbox.attach(first)

  const sent: Promise<void>[] = []
  const send = async (count: number): Promise<void> => {
    for (let index = 0; index < count; index++) {
      sent.push(outbox.send({ messageId: `m-${sent.length}`, body: 'x' }))
      if (index % 5 === 0) await turn()
    }
  }
  const sending = send(1_000)
  enroll('sim-5', newer)
  const prepared = await transport().prepare(target, newer.credential, never)
  await register(newer)
  expect(await outbox.pause(1_000)).toBe(true)
  const second = await prepared.connect(() => ({ status: 404, payload: null }), never)
  outbox.attach(second)
  outbox.resume()
  expect(await first.ended).toEqual(withCode('HUB_CONNECTION_LOST'))
  outbox.detach(first)
  await sending
  await Promise.all(sent)

  const received = cloud
    .hub(registration.assignedHub)
    .messages.filter(({ deviceId }) => deviceId === 'sim-5')
    .map(({ systemProperties }) => systemProperties.messageId)
  expect(received).toEqual(sent.map((_sent, index) => `m-${index}`))
  await second.close()
})
