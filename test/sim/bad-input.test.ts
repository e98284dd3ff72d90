import { once } from 'node:events'
import mqtt from 'mqtt'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { SimulatedCloud, TestAuthority } from 'leafkeeper-sim'
import { createSas } from '../../sim/http/sas.ts'
import { createDevice, dpsUserName, openTls, type Device } from './devices.ts'
import { isHubRefusal, isManagementRefusal, isProvisioningRefusal } from './fuzz/http-face.ts'
import { HttpAnswers } from './fuzz/http-answers.ts'
import { rawHttp, type RawAnswer, type RawRequest } from './raw-http.ts'

const deep = `${'['.repeat(20_000)}${']'.repeat(20_000)}`
const registrationId = 'bad-1'
const key = Buffer.alloc(32, 3).toString('base64')
let cloud: SimulatedCloud
let device: Device
let before: string

beforeAll(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  const root = await TestAuthority.createRoot({ commonName: 'bad input' })
  device = await createDevice(root, registrationId)
  cloud.dps.enrollments.put({ registrationId, attestation: { primary: device.certificate } })
  cloud.dps.enrollments.put({
    registrationId: 'keyed-1',
    attestation: { type: 'symmetricKey', primaryKey: key },
  })
  cloud.dps.certificates.put('kept', root.certificate)
})
afterAll(() => cloud.close())
beforeEach(() => {
  before = state()
})
afterEach(() => {
  expect(state()).toBe(before)
})

function state(): string {
  return JSON.stringify([cloud.dps.snapshot(), cloud.hub('hub-a').snapshot()])
}

function token(lifetime = 60, resource = `${cloud.idScope}/registrations/keyed-1`, signedBy = key): string {
  return createSas(resource, signedBy, Math.floor(Date.now() / 1000) + lifetime, 'registration')
}

describe('DPS over HTTPS refuses', () => {
  const version = '?api-version=2019-03-31'
  const path = (id = registrationId, rest = '/register'): string =>
    `/${cloud.idScope}/registrations/${id}${rest}${version}`
  const keyed = (authorization: string): Partial<RawRequest> => ({
    path: path('keyed-1'),
    body: { registrationId: 'keyed-1' },
    headers: { authorization },
  })

  it.each<[string, () => Partial<RawRequest>, number]>([
    ['malformed JSON', () => ({ body: '{' }), 400],
    ['JSON that is no object', () => ({ body: '[]' }), 400],
    ['no body', () => ({ body: '' }), 400],
    [
      'JSON that is nested too deeply',
      () => ({ body: `{"registrationId":"${registrationId}","payload":${deep}}` }),
      400,
    ],
    ['half a TPM', () => ({ body: { registrationId, tpm: { endorsementKey: 'AA==' } } }), 400],
    ['a body that is too large', () => ({ body: 'x'.repeat(300_000) }), 413],
    ['no api-version', () => ({ path: `/${cloud.idScope}/registrations/${registrationId}/register` }), 400],
    ['an api-version there never was', () => ({ path: path().replace('2019-03-31', '1999-01-01') }), 400],
    ['another id scope', () => ({ path: path().replace(cloud.idScope, '0neOTHER') }), 401],
    ['another device in the path', () => ({ path: path('bad-2') }), 401],
    ['a device that nobody knows', () => ({ path: path('bad-2'), body: { registrationId: 'bad-2' } }), 401],
    ['no token', () => ({ ...keyed(''), headers: {} }), 401],
    ['a token that is none', () => keyed('SharedAccessSignature sr=x'), 401],
    ['an expired token', () => keyed(token(-1)), 401],
    ['a token by another key', () => keyed(token(60, undefined, 'AAAA')), 401],
    ['a token for another device', () => keyed(token(60, `${cloud.idScope}/registrations/bad-1`)), 401],
    [
      'an operation that never was',
      () => ({ method: 'GET', path: path(registrationId, '/operations/none') }),
      404,
    ],
    ['a method it does not have', () => ({ method: 'DELETE' }), 404],
    ['a path it does not have', () => ({ path: path(registrationId, '/register/more') }), 404],
    ['a path with dots', () => ({ path: path(registrationId, '/../../register') }), 404],
    ['a path with encoded dots', () => ({ path: path('..%2F..%2Fenrollments', '/register') }), 401],
    ['a path with a backslash', () => ({ path: path('..\\x', '/register') }), 400],
    ['a path that is not encoded as it must be', () => ({ path: path('%E0%A4%A', '/register') }), 401],
  ])('%s', async (_what, request, status) => {
    const answer = await rawHttp(cloud, {
      host: cloud.provisioningHost,
      method: 'PUT',
      path: path(),
      device,
      body: { registrationId },
      ...request(),
    })
    expect(answer).toMatchObject({
      status,
      headers: { 'content-type': expect.stringMatching('^application/json') as string },
    })
    expect(isProvisioningRefusal(answer.json)).toBe(true)
  })
})

describe('the management API refuses', () => {
  const root =
    '/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/leafkeeper/certificates'
  const version = '?api-version=2022-12-12'
  const call = async (request: Partial<RawRequest>): Promise<RawAnswer> =>
    rawHttp(cloud, {
      host: 'management.azure.com',
      method: 'PUT',
      path: `${root}/new${version}`,
      body: {},
      ...request,
      headers: { authorization: `Bearer ${cloud.managementToken}`, ...request.headers },
    })
  const garbage = { properties: { certificate: 'AAAA' } }

  it.each<[string, Partial<RawRequest>, number]>([
    ['no token', { headers: { authorization: '' } }, 401],
    ['another token', { headers: { authorization: 'Bearer stranger' } }, 401],
    [
      'a shared access signature',
      { headers: { authorization: 'SharedAccessSignature sr=x&sig=x&se=1' } },
      401,
    ],
    ['no api-version', { path: `${root}/new` }, 400],
    ['an api-version there never was', { path: `${root}/new?api-version=1999-01-01` }, 400],
    ['malformed JSON', { body: '{' }, 400],
    ['JSON that is no object', { body: '[]' }, 400],
    ['JSON that is nested too deeply', { body: deep }, 400],
    ['no certificate', {}, 400],
    ['properties that are none', { body: { properties: null } }, 400],
    ['what is no certificate', { body: garbage }, 400],
    ['a body that is too large', { body: 'x'.repeat(300_000) }, 413],
    ['a name that cannot be one', { path: `${root}/${'n'.repeat(65)}${version}`, body: garbage }, 400],
    ['a name with a slash in it', { path: `${root}/..%2Fkept${version}`, body: garbage }, 400],
    ['a path with dots', { path: `${root}/kept/../../certificates${version}` }, 404],
    ['another resource', { path: `${root.replace('leafkeeper', 'other')}/new${version}` }, 404],
    ['another provider', { path: `${root.replace('Devices', 'Storage')}/new${version}` }, 404],
    ['to delete without an If-Match', { method: 'DELETE', path: `${root}/kept${version}` }, 400],
    [
      'to delete an old version',
      { method: 'DELETE', path: `${root}/kept${version}`, headers: { 'if-match': 'old' } },
      412,
    ],
    ['to delete what is not there', { method: 'DELETE', headers: { 'if-match': '*' } }, 404],
    [
      'a proof for no code',
      {
        method: 'POST',
        path: `${root}/kept/verify${version}`,
        headers: { 'if-match': '*' },
        body: { certificate: 'AAAA' },
      },
      400,
    ],
  ])('%s', async (_what, request, status) => {
    const answer = await call(request)
    expect(answer).toMatchObject({
      status,
      headers: { 'content-type': expect.stringMatching('^application/json') as string },
    })
    expect(isManagementRefusal(answer.json)).toBe(true)
  })
})

describe('what is no HTTP, or none that can be answered, is refused in the words of the service', () => {
  const hub = 'hub-a.azure-devices.net'

  it.each([
    ['no HTTP', 'GET\r\n\r\n', 400],
    ['HTTP/2', 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n', 400],
    [
      'two lengths',
      `PUT /devices/a HTTP/1.1\r\nhost: ${hub}\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\n`,
      400,
    ],
    [
      'a length and chunks',
      `PUT / HTTP/1.1\r\nhost: ${hub}\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n`,
      400,
    ],
    [
      'a chunk that is none',
      `PUT / HTTP/1.1\r\nhost: ${hub}\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n`,
      400,
    ],
    ['headers that are too large', `GET / HTTP/1.1\r\nhost: ${hub}\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`, 431],
    ['a request to be a proxy', `CONNECT ${hub}:443 HTTP/1.1\r\nhost: ${hub}\r\n\r\n`, 405],
    ['another Upgrade', `GET / HTTP/1.1\r\nhost: ${hub}\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\n`, 400],
    [
      'an expectation',
      `GET / HTTP/1.1\r\nhost: ${hub}\r\nexpect: a-miracle\r\nconnection: close\r\n\r\n`,
      417,
    ],
    ['no host', 'GET / HTTP/1.1\r\nconnection: close\r\n\r\n', 400],
    ['a host that makes no URL', 'GET / HTTP/1.1\r\nhost: 99999999999\r\nconnection: close\r\n\r\n', 400],
    ['a path that is none', `GET * HTTP/1.1\r\nhost: ${hub}\r\nconnection: close\r\n\r\n`, 400],
  ])('%s: %#', async (_what, request, status) => {
    const [answer] = await say(hub, request)
    expect(answer).toMatchObject({ status })
    expect(isHubRefusal(JSON.parse(answer?.body ?? '') as Record<string, unknown>)).toBe(true)
  })

  it('before it is acted upon, where its head alone would do', async () => {
    const path =
      '/subscriptions/s/resourceGroups/g/providers/Microsoft.Devices/provisioningServices/leafkeeper'
    const head = [
      `DELETE ${path}/certificates/kept?api-version=2022-12-12 HTTP/1.1`,
      'host: management.azure.com',
      `authorization: Bearer ${cloud.managementToken}`,
      'if-match: *',
      'transfer-encoding: 007',
    ]
    const answers = await say('management.azure.com', `${head.join('\r\n')}\r\n\r\n`)
    expect(answers.map(({ status }) => status)).toEqual([400])
  })

  it('after what was asked before it is answered', async () => {
    const answers = await say(hub, `GET /devices HTTP/1.1\r\nhost: ${hub}\r\n\r\nno HTTP\r\n\r\n`)
    expect(answers.map(({ status }) => status)).toEqual([401, 400])
  })

  it('without a body where HEAD asked for none', async () => {
    const answers = await say(
      hub,
      `HEAD / HTTP/1.1\r\nhost: ${hub}\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n`,
      ['HEAD'],
    )
    expect(answers).toMatchObject([{ status: 400, body: '' }])
  })

  it('and 100-continue comes before the answer to its own request', async () => {
    const put = `PUT /devices/a HTTP/1.1\r\nhost: ${hub}\r\nexpect: 100-continue\r\ncontent-length: 1\r\nconnection: close\r\n\r\nx`
    const answers = await say(hub, `GET /devices HTTP/1.1\r\nhost: ${hub}\r\n\r\n${put}`)
    expect(answers.map(({ status }) => status)).toEqual([401, 401])
  })

  async function say(
    host: string,
    request: string,
    methods: readonly string[] = [],
  ): Promise<HttpAnswers['list']> {
    const socket = openTls(cloud, host)
    await once(socket, 'secureConnect')
    const answers = new HttpAnswers(methods)
    socket.on('data', (chunk: Buffer) => answers.push(chunk))
    const closed = once(socket, 'close')
    socket.write(request, 'latin1')
    await closed
    expect(answers.rest).toBe('')
    return answers.list
  }
})

describe.each([
  ['MQTT', (): string => `mqtts://localhost:${String(cloud.port)}`],
  ['MQTT over WebSocket', (): string => `wss://localhost:${String(cloud.port)}/$iothub/websocket`],
])('DPS over %s refuses', (_carrier, address) => {
  const clients: mqtt.MqttClient[] = []
  afterEach(() => {
    for (const client of clients.splice(0)) client.end(true)
  })

  async function connected(options: mqtt.IClientOptions): Promise<mqtt.MqttClient> {
    const tls = { ca: cloud.trustedAuthorities, cert: device.chain, key: device.key }
    const client = mqtt.connect(address(), {
      clientId: registrationId,
      username: dpsUserName(cloud, registrationId),
      protocolVersion: 4,
      reconnectPeriod: 0,
      ...tls,
      wsOptions: tls,
      ...options,
    })
    client.on('error', () => undefined)
    clients.push(client)
    await once(client, 'connect')
    return client
  }

  const register = '$dps/registrations/PUT/iotdps-register/?$rid=1'
  const keyed = { registrationId: 'keyed-1' }

  it.each<[string, string | object, number, () => mqtt.IClientOptions]>([
    ['malformed JSON', '{', 400, () => ({})],
    ['JSON that is no object', '[]', 400, () => ({})],
    ['JSON that is nested too deeply', deep, 400, () => ({})],
    ['a body that is too large', 'x'.repeat(300_000), 413, () => ({})],
    ['another device', { registrationId: 'bad-2' }, 401, () => ({})],
    [
      'no api-version',
      { registrationId },
      400,
      () => ({ username: `${cloud.idScope}/registrations/${registrationId}` }),
    ],
    [
      'an api-version there never was',
      { registrationId },
      400,
      () => ({ username: dpsUserName(cloud, registrationId).replace('2019-03-31', '1999-01-01') }),
    ],
    ['no token', keyed, 401, () => ({ clientId: 'keyed-1', username: dpsUserName(cloud, 'keyed-1') })],
    [
      'an expired token',
      keyed,
      401,
      () => ({ clientId: 'keyed-1', username: dpsUserName(cloud, 'keyed-1'), password: token(-1) }),
    ],
  ])('%s, and keeps the connection', async (_what, body, status, options) => {
    const client = await connected(options())
    await new Promise((resolve) => client.subscribe('$dps/registrations/res/#', resolve))
    // Another subscription that ends is no reason to fall silent.
    await new Promise((resolve) => client.unsubscribe('hello/world', resolve))
    for (let round = 0; round < 2; round += 1) {
      const answered = once(client, 'message')
      client.publish(register, typeof body === 'string' ? body : JSON.stringify(body), { qos: 1 })
      const [topic, payload] = (await answered) as [string, Buffer]
      expect(topic).toBe(`$dps/registrations/res/${status}/?$rid=1`)
      expect(isProvisioningRefusal(JSON.parse(payload.toString()) as Record<string, unknown>)).toBe(true)
    }
  })

  it.each([
    ['another topic', 'devices/bad-1/messages/events/', 0],
    ['a path trick', '$dps/registrations/PUT/../PUT/iotdps-register/?$rid=1', 0],
    ['a request id that no answer has room for', `${register}${'1'.repeat(2000)}`, 0],
    ['QoS 2', register, 2],
    ['a packet that is larger than any can be', register, 1],
  ] as const)('%s by ending the connection', async (what, topic, qos) => {
    const client = await connected({})
    // Not by `once`, for which a reset is an error.
    const closed = new Promise((resolve) => client.once('close', resolve))
    client.publish(topic, what.startsWith('a packet') ? 'x'.repeat(500_000) : '{}', { qos })
    await closed
  })
})
