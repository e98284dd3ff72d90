import { request } from 'node:https'
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SimulatedCloud, type HubSnapshot, type JsonObject, type SimulatedHub } from 'leafkeeper-sim'
import { createSas } from '../../sim/http/sas.ts'

const version = 'api-version=2021-04-12'
let cloud: SimulatedCloud
let hub: SimulatedHub
let before: HubSnapshot

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  hub = cloud.hub('hub-a')
  hub.registry.create({ deviceId: 'rest-1', authentication: { type: 'sas' } })
  hub.twin('rest-1')
})
afterAll(() => cloud.close())
beforeEach(() => {
  before = hub.snapshot()
})

interface Reply {
  readonly status: number
  readonly body: JsonObject
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
}

function tokenOf(policy: string, resource = hub.hostName, lifetime = 3600): string {
  const expiry = Math.floor(Date.now() / 1000) + lifetime
  return createSas(resource, hub.policies.get(policy).primaryKey, expiry, policy)
}

/** A bare request, with the token of the owner unless `headers` has another. */
async function ask(
  method: string,
  path: string,
  body = '',
  headers: Record<string, string> = {},
): Promise<Reply> {
  return new Promise((resolve, reject) => {
    const options = {
      agent: cloud.clientOptions().agent,
      method,
      path,
      headers: {
        host: hub.hostName,
        authorization: tokenOf('iothubowner'),
        'content-length': String(Buffer.byteLength(body)),
        ...headers,
      },
    }
    const sent = request(options, (response) => {
      const chunks: Buffer[] = []
      response.on('data', (chunk: Buffer) => chunks.push(chunk))
      response.on('end', () => {
        const text = Buffer.concat(chunks).toString()
        const json = text === '' ? {} : (JSON.parse(text) as JsonObject)
        resolve({ status: response.statusCode ?? 0, body: json, headers: response.headers })
      })
    })
    sent.on('error', reject)
    sent.end(body)
  })
}

describe('who is let in', () => {
  it.each<[string, () => string]>([
    ['no token', () => ''],
    ['no token that can be read', () => 'Bearer x'],
    ['an expired token', () => tokenOf('iothubowner', hub.hostName, -1)],
    ['the token of another hub', () => tokenOf('iothubowner', 'hub-b.azure-devices.net')],
    ['the token of another device', () => tokenOf('iothubowner', `${hub.hostName}/devices/rest-2`)],
    ['a token of another key', () => createSas(hub.hostName, 'AAAA', 9_999_999_999, 'iothubowner')],
    ['a policy that is not there', () => tokenOf('iothubowner').replace('skn=iothubowner', 'skn=nobody')],
    ['a policy without this permission', () => tokenOf('service')],
    ['the policy of devices', () => tokenOf('device')],
  ])('not with %s', async (_what, authorization) => {
    const reply = await ask('DELETE', `/devices/rest-1?${version}`, '', { authorization: authorization() })
    expect(reply.status).toBe(401)
    expect(reply.body).toEqual({
      Message: 'ErrorCode:IotHubUnauthorizedAccess;Unauthorized',
      ExceptionMessage: expect.stringMatching(/^Tracking ID:/) as string,
    })
    expect(hub.snapshot()).toEqual(before)
  })

  it.each([
    ['registryRead', 'GET', '/devices/rest-1', 200],
    ['registryRead', 'POST', '/twins/rest-1/methods', 401],
    ['registryReadWrite', 'GET', '/devices', 200],
    ['service', 'GET', '/twins/rest-1', 200],
    ['service', 'GET', '/devices/rest-1', 401],
    ['service', 'GET', '/jobs/v2/query', 200],
  ] as const)('%s: %s %s is %i', async (policy, method, path, status) => {
    const reply = await ask(method, `${path}?${version}`, '', { authorization: tokenOf(policy) })
    expect(reply.status).toBe(status)
  })

  it('by a token for one device, on that device only', async () => {
    const authorization = tokenOf('iothubowner', `${hub.hostName}/devices/rest-1`)
    expect((await ask('GET', `/devices/rest-1?${version}`, '', { authorization })).status).toBe(200)
    expect((await ask('GET', `/devices/rest-2?${version}`, '', { authorization })).status).toBe(401)
  })
})

describe('what is refused', () => {
  const put = JSON.stringify({ deviceId: 'new-1' })
  const job = (change: object): string =>
    JSON.stringify({ jobId: 'j', type: 'scheduleUpdateTwin', updateTwin: { tags: { a: 1 } }, ...change })

  it.each<[string, string, string, number, string]>([
    ['PUT', '/devices/new-1', put, 400, 'ArgumentInvalid'],
    ['PUT', '/devices/new-1?api-version=1999-01-01', put, 400, 'ArgumentInvalid'],
    ['PUT', `/devices/new-1?${version}`, '{', 400, 'ArgumentInvalid'],
    ['PUT', `/devices/new-1?${version}`, '[]', 400, 'ArgumentInvalid'],
    ['PUT', `/devices/new-2?${version}`, put, 400, 'ArgumentInvalid'],
    ['PUT', `/devices/a%2Fb?${version}`, '{"deviceId":"a/b"}', 400, 'ArgumentInvalid'],
    ['PUT', `/devices/..%2Frest-1?${version}`, '{"deviceId":"../rest-1"}', 400, 'ArgumentInvalid'],
    ['PUT', `/devices/new-1?${version}`, '{"deviceId":"new-1","status":"odd"}', 400, 'ArgumentInvalid'],
    [
      'PUT',
      `/devices/new-1?${version}`,
      '{"deviceId":"new-1","authentication":{"type":"selfSigned","x509Thumbprint":{"primaryThumbprint":"xyz"}}}',
      400,
      'ArgumentInvalid',
    ],
    [
      'PUT',
      `/devices/new-1?${version}`,
      '{"deviceId":"new-1","authentication":{"symmetricKey":{"primaryKey":"short"}}}',
      400,
      'ArgumentInvalid',
    ],
    ['PUT', `/devices/new-1?${version}`, `{"x":"${'y'.repeat(300_000)}"}`, 413, 'MessageTooLarge'],
    ['PUT', `/devices/rest-1?${version}`, '{"deviceId":"rest-1"}', 409, 'DeviceAlreadyExists'],
    ['GET', `/devices/nobody?${version}`, '', 404, 'DeviceNotFound'],
    ['DELETE', `/devices/nobody?${version}`, '', 404, 'DeviceNotFound'],
    ['GET', `/twins/nobody?${version}`, '', 404, 'DeviceNotFound'],
    ['POST', `/twins/nobody/methods?${version}`, '{"methodName":"x"}', 404, 'DeviceNotFound'],
    ['POST', `/twins/rest-1/methods?${version}`, '{}', 400, 'ArgumentInvalid'],
    [
      'POST',
      `/twins/rest-1/methods?${version}`,
      '{"methodName":"x","responseTimeoutInSeconds":1}',
      400,
      'ArgumentInvalid',
    ],
    ['PATCH', `/twins/rest-1?${version}`, '{"tags":[]}', 400, 'ArgumentInvalid'],
    ['PATCH', `/twins/rest-1?${version}`, '{"tags":{"a.b":1}}', 400, 'ArgumentInvalid'],
    [
      'PATCH',
      `/twins/rest-1?${version}`,
      `{"properties":{"desired":{"a":${JSON.stringify(Array.from({ length: 20 }, () => 'x'.repeat(4000)))}}}}`,
      400,
      'ArgumentInvalid',
    ],
    ['POST', `/devices?${version}`, '{}', 400, 'ArgumentInvalid'],
    ['POST', `/devices/query?${version}`, '{"query":7}', 400, 'ArgumentInvalid'],
    ['POST', `/devices/query?${version}`, '{"query":"SELECT"}', 400, 'ArgumentInvalid'],
    ['PUT', `/jobs/v2/j?${version}`, job({ type: 'export' }), 400, 'ArgumentInvalid'],
    ['PUT', `/jobs/v2/j?${version}`, job({ queryCondition: 'a =' }), 400, 'ArgumentInvalid'],
    ['PUT', `/jobs/v2/j?${version}`, job({ startTime: 'soon' }), 400, 'ArgumentInvalid'],
    ['PUT', `/jobs/v2/j?${version}`, job({ maxExecutionTimeInSeconds: 0 }), 400, 'ArgumentInvalid'],
    ['GET', `/jobs/v2/nothing?${version}`, '', 404, 'JobNotFound'],
    ['GET', `/jobs/v2/query?${version}&jobStatus=odd`, '', 400, 'ArgumentInvalid'],
    ['POST', `/jobs/create?${version}`, '{}', 501, 'NotImplemented'],
    ['GET', `/configurations?${version}`, '', 501, 'NotImplemented'],
    ['GET', `/devices/rest-1/modules?${version}`, '', 501, 'NotImplemented'],
    ['GET', `/hello/world?${version}`, '', 404, 'NotFound'],
    ['GET', `/devices/rest-1/../../hello?${version}`, '', 404, 'NotFound'],
  ])('%s %.70s %.60s: %i', async (method, path, body, status, name) => {
    const reply = await ask(method, path, body)
    expect(reply).toMatchObject({
      status,
      body: { Message: expect.stringMatching(new RegExp(`^ErrorCode:${name};`)) as string },
    })
    expect(hub.snapshot()).toEqual(before)
  })

  it.each([
    ['an old version', '"AAAA"', 412],
    ['no version at all', '""', 400],
  ])('a change of %s', async (_what, ifMatch, status) => {
    const headers = { 'if-match': ifMatch }
    for (const [method, path, body] of [
      ['PUT', '/devices/rest-1', '{"deviceId":"rest-1","status":"disabled"}'],
      ['DELETE', '/devices/rest-1', ''],
      ['PATCH', '/twins/rest-1', '{"tags":{"a":1}}'],
    ] as const) {
      expect((await ask(method, `${path}?${version}`, body, headers)).status).toBe(status)
    }
    expect(hub.snapshot()).toEqual(before)
  })
})

describe('what is answered', () => {
  it('a call to a device that is away: 404103, as JSON in the message', async () => {
    const reply = await ask('POST', `/twins/rest-1/methods?${version}`, '{"methodName":"x"}')
    expect(reply.status).toBe(404)
    expect(JSON.parse(String(reply.body['Message']))).toEqual({
      errorCode: 404103,
      trackingId: expect.any(String) as string,
      message: 'Timed out waiting for device to connect.',
      info: { timeout: '00:00:00' },
      timestampUtc: expect.any(String) as string,
    })
  })

  it('paths in either case and with a slash at the end', async () => {
    expect((await ask('GET', `/DEVICES/rest-1/?${version}`)).status).toBe(200)
  })

  it('a twin that is replaced: what is not in it is gone', async () => {
    await ask('PATCH', `/twins/rest-1?${version}`, '{"tags":{"a":1,"b":2},"properties":{"desired":{"x":1}}}')
    const { body } = await ask('PUT', `/twins/rest-1?${version}`, '{"tags":{"b":3}}')
    expect(body).toMatchObject({ tags: { b: 3 }, properties: { desired: { $version: 3 } } })
    expect(hub.twin('rest-1')).toMatchObject({ tags: { b: 3 }, desired: { $version: 3 } })
    expect(hub.twin('rest-1').desired).not.toHaveProperty('x')
  })

  it('a continuation only to the query that it came from', async () => {
    hub.registry.create({ deviceId: 'rest-2', authentication: { type: 'sas' } })
    const query = (text: string, headers: Record<string, string>): Promise<Reply> =>
      ask('POST', `/devices/query?${version}`, JSON.stringify({ query: text }), headers)
    const first = await query('SELECT deviceId FROM devices', { 'x-ms-max-item-count': '1' })
    expect(first).toMatchObject({ body: [{ deviceId: 'rest-1' }], headers: { 'x-ms-item-type': 'Raw' } })
    const token = String(first.headers['x-ms-continuation'])
    const more = await query('SELECT deviceId FROM devices', { 'x-ms-continuation': token })
    expect(more.body).toEqual([{ deviceId: 'rest-2' }])
    expect(more.headers['x-ms-continuation']).toBeUndefined()
    expect((await query('SELECT * FROM devices', { 'x-ms-continuation': token })).status).toBe(400)
    expect((await query('SELECT * FROM devices', { 'x-ms-continuation': '{}' })).status).toBe(400)
  })
})

describe('a hub that is restored from its snapshot', () => {
  it('is the same hub, over JSON', async () => {
    hub.sendToDevice('rest-1', { body: 'waits' })
    const saved = JSON.stringify(hub.snapshot())
    hub.registry.delete('rest-1')
    hub.restore(JSON.parse(saved) as HubSnapshot)
    expect(JSON.stringify(hub.snapshot())).toBe(saved)
    const { body } = await ask('GET', `/devices/rest-1?${version}`)
    expect(body).toMatchObject({ deviceId: 'rest-1', cloudToDeviceMessageCount: 1 })
    const purged = await ask('DELETE', `/devices/rest-1/commands?${version}`)
    expect(purged.body).toMatchObject({ totalMessagesPurged: 1 })
  })
})
