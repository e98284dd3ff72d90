import iothub from 'azure-iothub'
import { NoRetry } from 'azure-iot-common'
import { Client } from 'azure-iot-device'
import { Mqtt } from 'azure-iot-device-mqtt'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { SimulatedCloud, type JsonObject, type SimulatedHub } from 'leafkeeper-sim'
import { pointedAt } from './service-clients.ts'

let cloud: SimulatedCloud
let hub: SimulatedHub
let registry: iothub.Registry
let service: iothub.Client
let jobs: iothub.JobClient
const open: Client[] = []

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
  hub = cloud.hub('hub-a')
  registry = pointedAt(cloud, iothub.Registry.fromConnectionString(hub.connectionString))
  service = pointedAt(cloud, iothub.Client.fromConnectionString(hub.connectionString))
  jobs = pointedAt(cloud, iothub.JobClient.fromConnectionString(hub.connectionString))
})
afterEach(async () => {
  await Promise.all(open.splice(0).map((client) => client.close()))
})
afterAll(() => cloud.close())

/** A device with keys, connected by the official SDK with its connection string as it is. */
async function connected(deviceId: string): Promise<Client> {
  const text = `${hub.deviceConnectionString(deviceId)};GatewayHostName=${cloud.address}`
  const client = Client.fromConnectionString(text, Mqtt)
  await client.setOptions({ ca: cloud.trustedAuthorities })
  client.setRetryPolicy(new NoRetry())
  client.on('error', () => undefined)
  await client.open()
  open.push(client)
  return client
}

/** What the service has answered; the SDK's own types promise less, or something else. */
async function body(result: unknown): Promise<JsonObject> {
  const { responseBody } = (await result) as { readonly responseBody: JsonObject }
  return responseBody
}

describe('Registry of azure-iothub', () => {
  it('makes a device with keys of its own, reads, lists, updates and deletes it', async () => {
    const made = await body(registry.create({ deviceId: 'crud-1' }))
    expect(made).toMatchObject({
      deviceId: 'crud-1',
      status: 'enabled',
      connectionState: 'Disconnected',
      cloudToDeviceMessageCount: 0,
      authentication: { type: 'sas', symmetricKey: { primaryKey: expect.any(String) as string } },
    })
    expect(await body(registry.get('crud-1'))).toMatchObject({ etag: made['etag'] })
    const { responseBody: list } = (await registry.list()) as unknown as { responseBody: JsonObject[] }
    expect(list.map(({ deviceId }) => deviceId)).toContain('crud-1')
    const changed = await body(
      registry.update({ deviceId: 'crud-1', status: 'disabled', statusReason: 'lost' }),
    )
    expect(changed).toMatchObject({ status: 'disabled', statusReason: 'lost' })
    expect(changed['etag']).not.toBe(made['etag'])
    await registry.delete('crud-1')
    await expect(registry.get('crud-1')).rejects.toMatchObject({ name: 'DeviceNotFoundError' })
    expect(hub.registry.get('crud-1')).toBeUndefined()
  })

  it('makes a self-signed device of thumbprints, and shares it with the typed API', async () => {
    const primaryThumbprint = 'ab'.repeat(32)
    await registry.create({
      deviceId: 'thumb-1',
      authentication: { x509Thumbprint: { primaryThumbprint } },
    })
    expect(hub.registry.get('thumb-1')?.authentication).toEqual({
      type: 'selfSigned',
      x509Thumbprint: { primaryThumbprint: primaryThumbprint.toUpperCase(), secondaryThumbprint: null },
    })
  })

  it('refuses a second device of one name, and gives each version an ETag', async () => {
    const first = await body(registry.create({ deviceId: 'etag-1' }))
    await expect(registry.create({ deviceId: 'etag-1' })).rejects.toMatchObject({
      name: 'DeviceAlreadyExistsError',
    })
    await registry.update({ deviceId: 'etag-1', status: 'disabled' })
    expect(hub.registry.get('etag-1')?.etag).not.toBe(first['etag'])
  })

  it('changes devices in bulk, and names those that failed', async () => {
    await registry.create({ deviceId: 'bulk-0' })
    const added = await body(registry.addDevices([{ deviceId: 'bulk-1' }, { deviceId: 'bulk-0' }]))
    expect(added).toMatchObject({
      isSuccessful: false,
      errors: [{ deviceId: 'bulk-0', errorCode: 'DeviceAlreadyExists' }],
    })
    const removed = await body(registry.removeDevices([{ deviceId: 'bulk-0' }, { deviceId: 'bulk-1' }], true))
    expect(removed).toMatchObject({ isSuccessful: true, errors: [] })
    expect(hub.registry.get('bulk-1')).toBeUndefined()
  })

  it('counts the devices', async () => {
    const all = hub.registry.list()
    expect(await body(registry.getRegistryStatistics() as never)).toEqual({
      totalDeviceCount: all.length,
      enabledDeviceCount: all.filter(({ status }) => status === 'enabled').length,
      disabledDeviceCount: all.filter(({ status }) => status === 'disabled').length,
    })
  })
})

describe('twins', () => {
  it('patches tags and desired properties, which the device hears, and refuses an old version', async () => {
    await registry.create({ deviceId: 'twin-1' })
    const client = await connected('twin-1')
    const device = await client.getTwin()
    const heard = new Promise<JsonObject>((resolve) => {
      device.on('properties.desired', (delta: JsonObject) => {
        if (delta['interval'] !== undefined) resolve(delta)
      })
    })
    const { responseBody: twin } = (await registry.getTwin('twin-1')) as { responseBody: iothub.Twin }
    const patch = { tags: { site: 'north' }, properties: { desired: { interval: 5 } } }
    await twin.update(patch)
    expect(await heard).toMatchObject({ interval: 5 })
    const stored = hub.storedTwin('twin-1')
    expect(stored).toMatchObject({
      tags: { site: 'north' },
      desired: { properties: { interval: 5 }, version: 2 },
    })
    expect(stored.desired.metadata).toMatchObject({ interval: { $lastUpdatedVersion: 2 } })
    await expect(registry.updateTwin('twin-1', patch, 'AAAAAAAAAAE=')).rejects.toMatchObject({
      name: 'InvalidEtagError',
    })
    expect(hub.storedTwin('twin-1')).toEqual(stored)
  })

  it('finds them by a query, page by page', async () => {
    for (const n of [1, 2, 3]) {
      await registry.create({ deviceId: `query-${n}` })
      hub.writeTwin(`query-${n}`, { tags: { batch: 'q', n } }, 'merge')
    }
    const query = registry.createQuery("SELECT * FROM devices WHERE tags.batch = 'q' AND tags.n >= 2", 1)
    const found: string[] = []
    while (query.hasMoreResults) {
      const { result } = await query.nextAsTwin()
      found.push(...result.map(({ deviceId }) => deviceId))
    }
    expect(found).toEqual(['query-2', 'query-3'])
    const wrong = registry.createQuery('SELECT * FROM modules')
    await expect(wrong.nextAsTwin()).rejects.toMatchObject({ name: 'ArgumentError' })
  })
})

describe('direct methods', () => {
  it('come back with what the device has answered', async () => {
    await registry.create({ deviceId: 'method-1' })
    const client = await connected('method-1')
    client.onDeviceMethod('ready', (_request, response) => response.send(200, () => undefined))
    client.onDeviceMethod('add', (request, response) => {
      response.send(201, { got: request.payload as unknown }, () => undefined)
    })
    const call = {
      methodName: 'add',
      payload: [1, 2],
      connectTimeoutInSeconds: 5,
      responseTimeoutInSeconds: 5,
    }
    const answer: unknown = service.invokeDeviceMethod('method-1', call)
    const { result } = (await answer) as { readonly result: unknown }
    expect(result).toEqual({ status: 201, payload: { got: [1, 2] } })
  })

  it('tells a device that is away from one that does not exist', async () => {
    await registry.create({ deviceId: 'away-1' })
    const call = { methodName: 'x', payload: null }
    await expect(service.invokeDeviceMethod('away-1', call)).rejects.toMatchObject({
      message: 'Not found',
    })
    await expect(service.invokeDeviceMethod('nobody-1', call)).rejects.toMatchObject({
      name: 'DeviceNotFoundError',
    })
  })
})

describe('JobClient', () => {
  async function ended(jobId: string): Promise<JsonObject> {
    if (!['completed', 'failed', 'cancelled'].includes(hub.jobs.get(jobId).status)) {
      await cloud.waitFor(
        'jobChanged',
        (job) => job.jobId === jobId && !['running', 'queued', 'scheduled'].includes(job.status),
      )
    }
    const promise: unknown = jobs.getJob(jobId)
    const { jobStatus } = (await promise) as { readonly jobStatus: JsonObject }
    return jobStatus
  }

  it('updates the twins that a condition finds', async () => {
    for (const id of ['job-1', 'job-2', 'job-3']) await registry.create({ deviceId: id })
    const patch = { etag: '*', tags: { rolled: true } }
    const condition = "deviceId IN ['job-1', 'job-2']"
    await jobs.scheduleTwinUpdate('twin-job', condition, patch, new Date(), 60)
    expect(await ended('twin-job')).toMatchObject({
      status: 'completed',
      type: 'scheduleUpdateTwin',
      deviceJobStatistics: { deviceCount: 2, succeededCount: 2, failedCount: 0 },
    })
    expect(hub.twin('job-2').tags).toEqual({ rolled: true })
    expect(hub.twin('job-3').tags).toEqual({})
  })

  it('calls a method on each device, and tells for each what came of it', async () => {
    for (const id of ['mjob-1', 'mjob-2']) await registry.create({ deviceId: id })
    await answeringReprovision('mjob-1')
    const call = { methodName: 'reprovision', payload: null, responseTimeoutInSeconds: 5 }
    const condition = "STARTSWITH(deviceId, 'mjob-')"
    await jobs.scheduleDeviceMethod('method-job', condition, call, new Date(), 60)
    expect(await ended('method-job')).toMatchObject({
      status: 'failed',
      deviceJobStatistics: { deviceCount: 2, succeededCount: 1, failedCount: 1 },
    })
    const query = registry.createQuery("SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'method-job'")
    const { result } = (await query.nextAsTwin()) as unknown as { readonly result: JsonObject[] }
    expect(result).toMatchObject([
      { deviceId: 'mjob-1', status: 'completed', outcome: { deviceMethodResponse: { status: 200 } } },
      { deviceId: 'mjob-2', status: 'failed', error: { code: '404103' } },
    ])
  })

  async function answeringReprovision(deviceId: string): Promise<void> {
    const client = await connected(deviceId)
    client.onDeviceMethod('reprovision', (_request, response) => response.send(200, () => undefined))
    await hub.invokeMethod(deviceId, { methodName: 'reprovision', connectTimeoutMs: 5000 })
  }

  it('waits for its start, and can be cancelled until then', async () => {
    await registry.create({ deviceId: 'later-1' })
    const start = new Date(Date.now() + 3_600_000)
    await jobs.scheduleTwinUpdate(
      'later-job',
      "deviceId = 'later-1'",
      { etag: '*', tags: { a: 1 } },
      start,
      60,
    )
    expect(hub.jobs.get('later-job').status).toBe('scheduled')
    await jobs.cancelJob('later-job')
    expect(await ended('later-job')).toMatchObject({ status: 'cancelled' })
    expect(hub.twin('later-1').tags).toEqual({})
    await expect(jobs.cancelJob('later-job')).rejects.toMatchObject({ name: 'ArgumentError' })
  })
})
