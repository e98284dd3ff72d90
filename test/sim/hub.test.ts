import { X509Certificate } from 'node:crypto'
import { promisify } from 'node:util'
import { Message } from 'azure-iot-common'
import type { Client } from 'azure-iot-device'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { ServiceError, SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createDevice, deviceClient, enrol, type Device } from './devices.ts'

const hub = 'hub-a.azure-devices.net'
let cloud: SimulatedCloud
let root: TestAuthority
const open: Client[] = []

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  root = await TestAuthority.createRoot({ commonName: 'hub root' })
})
afterAll(() => cloud.close())
afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.close()))
})

async function clientOf(device: Device): Promise<Client> {
  const client = await deviceClient(cloud, hub, device)
  open.push(client)
  return client
}

async function connect(device: Device): Promise<Client> {
  const client = await clientOf(device)
  await client.open()
  return client
}

/** Expects CONNACK 5, which the SDK calls so. */
async function expectRefused(device: Device): Promise<void> {
  await expect((await clientOf(device)).open()).rejects.toMatchObject({
    name: 'UnauthorizedError',
    message: expect.stringContaining('Connection refused: Not authorized') as string,
  })
}

async function enrolled(id: string): Promise<Device> {
  const device = await createDevice(root, id)
  enrol(cloud, hub, device)
  return device
}

describe('a device of the official SDK', () => {
  it('connects by its thumbprint and is seen in the registry', async () => {
    const device = await enrolled('connect-1')
    const connected = cloud.waitFor('deviceConnected')
    const client = await connect(device)
    expect(await connected).toEqual({ hub, deviceId: device.id, thumbprint: device.thumbprint })
    expect(cloud.hub('hub-a').registry.get(device.id)?.connectionState).toBe('Connected')
    const gone = cloud.waitFor('deviceDisconnected')
    await client.close()
    expect(await gone).toMatchObject({ deviceId: device.id, reason: 'The device has gone.' })
    expect(cloud.hub('hub-a').registry.get(device.id)?.connectionState).toBe('Disconnected')
  })

  it('sends telemetry with its properties, in order', async () => {
    const device = await enrolled('telemetry-1')
    const client = await connect(device)
    const arrived = cloud.waitFor('telemetry')
    const message = new Message(JSON.stringify({ celsius: 21 }))
    message.messageId = 'm/1 &=%'
    message.contentType = 'application/json'
    message.correlationId = 'c-1'
    message.properties.add('colour', 'blue & grün')
    await client.sendEvent(message)
    const first = await arrived
    expect(first).toMatchObject({
      hub,
      deviceId: device.id,
      properties: { colour: 'blue & grün' },
      systemProperties: { messageId: 'm/1 &=%', contentType: 'application/json', correlationId: 'c-1' },
    })
    expect(first.body.toString()).toBe('{"celsius":21}')
    await Promise.all(['a', 'b', 'c'].map(async (body) => client.sendEvent(new Message(body))))
    const mine = cloud.hub(hub).messages.filter(({ deviceId }) => deviceId === device.id)
    expect(mine.map(({ body }) => body.toString())).toEqual(['{"celsius":21}', 'a', 'b', 'c'])
    expect(mine.map(({ sequence }) => sequence - first.sequence)).toEqual([0, 1, 2, 3])
  })

  it('answers direct methods', async () => {
    const device = await enrolled('method-1')
    const client = await connect(device)
    client.onDeviceMethod('add', (request, response) => {
      const [a = 0, b = 0] = request.payload as number[]
      response.send(201, { sum: a + b }, () => undefined)
    })
    const answer = await cloud.hub(hub).invokeMethod(device.id, {
      methodName: 'add',
      payload: [1, 2],
      connectTimeoutMs: 5000,
    })
    expect(answer).toEqual({ status: 201, payload: { sum: 3 } })
  })

  it('is taken over by a newer connection of the same device', async () => {
    const device = await enrolled('takeover-1')
    await connect(device)
    const gone = cloud.waitFor('deviceDisconnected')
    const second = await connect(device)
    expect(await gone).toMatchObject({
      deviceId: device.id,
      reason: 'A newer connection of the same device has taken over.',
    })
    expect(cloud.hub(hub).registry.get(device.id)?.connectionState).toBe('Connected')
    await second.sendEvent(new Message('from the second'))
  })

  it('keeps its connection when a CONNECT with another certificate is refused', async () => {
    const device = await enrolled('undisturbed-1')
    const client = await connect(device)
    const refused = cloud.waitFor('connectRefused')
    await expectRefused(await createDevice(root, device.id))
    expect(await refused).toMatchObject({ hub, deviceId: device.id, code: 5, errorCode: 401003 })
    await client.sendEvent(new Message('still here'))
    expect(cloud.hub(hub).registry.get(device.id)?.connectionState).toBe('Connected')
  })

  it.each([
    ['disabled', 'The device was disabled.', 403012],
    ['deleted', 'The device was deleted.', 404001],
  ] as const)('is cut off at once when it is %s, and refused afterwards', async (how, reason, errorCode) => {
    const device = await enrolled(`allowed-until-${how}`)
    await connect(device)
    const gone = cloud.waitFor('deviceDisconnected')
    const { registry } = cloud.hub(hub)
    if (how === 'disabled') registry.update(device.id, { status: 'disabled' })
    else registry.delete(device.id)
    expect(await gone).toMatchObject({ deviceId: device.id, reason })
    const refused = cloud.waitFor('connectRefused')
    await expectRefused(device)
    expect(await refused).toMatchObject({ code: 5, errorCode })
  })

  it('reads its twin, reports, and hears what is wanted of it', async () => {
    const device = await enrolled('twin-1')
    const client = await connect(device)
    const twin = await client.getTwin()
    const reported = twin.properties.reported as { update: (patch: object, done: () => void) => void }
    await promisify(reported.update)({ leaf: { serial: '01' }, old: 1 })
    expect(cloud.hub(hub).twin(device.id).reported).toEqual({ $version: 2, leaf: { serial: '01' }, old: 1 })
    const heard = new Promise<unknown>((resolve) => {
      twin.on('properties.desired', (delta: { $version: number }) => {
        if (delta.$version > 1) resolve(delta)
      })
    })
    // The SDK subscribes after `on` without telling when; the subscription is on the same connection.
    await client.sendEvent(new Message('after the subscription'))
    cloud.hub(hub).updateDesired(device.id, { interval: 5 })
    expect(await heard).toEqual({ interval: 5, $version: 2 })
  })
})

describe('how a hub tells devices apart', () => {
  it('accepts a SHA-1 thumbprint, in any notation, in the second place', async () => {
    const device = await createDevice(root, 'sha1-1')
    cloud.hub(hub).registry.create({
      deviceId: device.id,
      authentication: {
        type: 'selfSigned',
        x509Thumbprint: {
          secondaryThumbprint: new X509Certificate(device.certificate).fingerprint.toLowerCase(),
        },
      },
    })
    await connect(device)
  })

  it.each([
    ['has expired', { notBefore: new Date(2020, 0, 1), notAfter: new Date(2021, 0, 1) }],
    ['is not valid yet', { notBefore: new Date(2090, 0, 1), notAfter: new Date(2091, 0, 1) }],
  ])('refuses a certificate that %s', async (what, dates) => {
    const device = await createDevice(root, what.replaceAll(' ', '-'), dates)
    enrol(cloud, hub, device)
    const refused = cloud.waitFor('connectRefused')
    await expectRefused(device)
    expect((await refused).reason).toContain('which is not now')
  })

  it('accepts by authority every leaf of that name, over the intermediates that came with it', async () => {
    const intermediate = await root.createIntermediate({ commonName: 'hub intermediate' })
    cloud.hub(hub).trustedAuthorities.add(root.certificate)
    const deviceId = 'authority-1'
    cloud.hub(hub).registry.create({ deviceId, authentication: { type: 'certificateAuthority' } })
    for (const issuer of [root, intermediate]) await connect(await createDevice(issuer, deviceId))

    const stranger = await TestAuthority.createRoot({ commonName: 'stranger' })
    const otherName = await createDevice(root, 'authority-2')
    for (const wrong of [await createDevice(stranger, deviceId), { ...otherName, id: deviceId }]) {
      await expectRefused(wrong)
    }
  })

  it('refuses a device that nobody knows, and one of a hub that is not here', async () => {
    const device = await createDevice(root, 'nobody-1')
    await expectRefused(device)
    const refused = cloud.waitFor('connectRefused')
    const elsewhere = await deviceClient(cloud, 'hub-z.azure-devices.net', device)
    await expect(elsewhere.open()).rejects.toMatchObject({ name: 'UnauthorizedError' })
    expect(await refused).toMatchObject({ hub: 'hub-z.azure-devices.net', code: 5 })
  })
})

describe('direct methods that fail', () => {
  const method = { methodName: 'anything' }

  it('tells an unknown device from one that is not connected', async () => {
    const device = await enrolled('offline-1')
    await expect(cloud.hub(hub).invokeMethod('unknown-1', method)).rejects.toMatchObject({
      errorCode: 404001,
    })
    await expect(cloud.hub(hub).invokeMethod(device.id, method)).rejects.toBeInstanceOf(ServiceError)
    await expect(
      cloud.hub(hub).invokeMethod(device.id, { ...method, connectTimeoutMs: 5 }),
    ).rejects.toMatchObject({ status: 404, errorCode: 404103 })
  })

  it('gives up on a device that does not answer', async () => {
    const device = await enrolled('silent-1')
    const client = await connect(device)
    client.onDeviceMethod('anything', () => undefined)
    const call = { ...method, connectTimeoutMs: 5000, responseTimeoutMs: 20 }
    await expect(cloud.hub(hub).invokeMethod(device.id, call)).rejects.toMatchObject({
      status: 504,
      errorCode: 504101,
    })
  })
})

describe('faults', () => {
  it('refuses the next CONNECT with the code asked for', async () => {
    const device = await enrolled('refuse-1')
    cloud.hub(hub).refuseNext(5, 2)
    for (let attempt = 0; attempt < 2; attempt += 1) {
      await expectRefused(device)
    }
    await connect(device)
  })

  it('becomes unreachable and comes back at the same address', async () => {
    const device = await enrolled('unreachable-1')
    await connect(device)
    const gone = cloud.waitFor('deviceDisconnected')
    await cloud.pauseListening()
    expect((await gone).deviceId).toBe(device.id)
    await expect((await clientOf(device)).open()).rejects.toBeInstanceOf(Error)
    const { port } = cloud
    await cloud.resumeListening()
    expect(cloud.port).toBe(port)
    await connect(device)
  })

  it('cuts one connection on request', async () => {
    const device = await enrolled('cut-1')
    await connect(device)
    const gone = cloud.waitFor('deviceDisconnected')
    expect(cloud.hub(hub).disconnect(device.id)).toBe(true)
    expect(cloud.hub(hub).disconnect(device.id)).toBe(false)
    expect((await gone).deviceId).toBe(device.id)
    expect(cloud.hub(hub).disconnect(device.id)).toBe(false)
  })
})
