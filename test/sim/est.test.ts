import { webcrypto } from 'node:crypto'
import {
  ChallengePasswordAttribute,
  Pkcs10CertificateRequestGenerator,
  SubjectAlternativeNameExtension,
  X509Certificates,
  type X509Certificate,
} from '../../sim/pki/x509.ts'
import {
  estUser,
  generateKeyFile,
  SimulatedCloud,
  TestAuthority,
  type FaultName,
  type KeyType,
} from 'leafkeeper-sim'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { unprovenRequestFor } from './asking.ts'
import { createDevice, type Device } from './devices.ts'
import { rawHttp, type RawAnswer } from './raw-http.ts'

let cloud: SimulatedCloud

beforeEach(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  onTestFinished(() => cloud.close())
})

interface Wish {
  readonly commonName?: string
  readonly alternativeName?: string
  readonly password?: string
  readonly keyType?: KeyType
}

/** A PKCS#10 request for a fresh key, in Base64. */
async function request({ commonName = 'device-1', alternativeName, password, keyType }: Wish = {}): Promise<{
  readonly body: string
  readonly key: string
}> {
  const { publicKey, privateKey, privateKeyPem } = await generateKeyFile(keyType)
  const made = await Pkcs10CertificateRequestGenerator.create(
    {
      name: [{ CN: [commonName] }],
      keys: { publicKey, privateKey },
      signingAlgorithm: { name: 'ECDSA', hash: 'SHA-256' },
      extensions:
        alternativeName === undefined
          ? []
          : [new SubjectAlternativeNameExtension([{ type: 'dns', value: alternativeName }])],
      attributes: password === undefined ? [] : [new ChallengePasswordAttribute(password)],
    },
    webcrypto,
  )
  return { body: Buffer.from(made.rawData).toString('base64'), key: privateKeyPem }
}

const basic = (name: string, password: string): Readonly<Record<string, string>> => ({
  authorization: `Basic ${Buffer.from(`${name}:${password}`).toString('base64')}`,
})

/** Whoever asks shows the right password unless the test says otherwise. */
async function post(
  operation: string,
  body: string,
  {
    headers = basic(estUser, cloud.est.password),
    device,
  }: { readonly headers?: Readonly<Record<string, string>>; readonly device?: Device } = {},
): Promise<RawAnswer> {
  return rawHttp(cloud, {
    host: 'localhost',
    method: 'POST',
    path: `/.well-known/est/${operation}`,
    headers: { 'content-type': 'application/pkcs10', ...headers },
    body,
    ...(device === undefined ? {} : { device }),
  })
}

const get = (path: string): Promise<RawAnswer> =>
  rawHttp(cloud, { host: 'est.leafkeeper.test', path: `/.well-known/est/${path}` })

const certificatesIn = ({ text }: RawAnswer): X509Certificate[] => [
  ...new X509Certificates(Buffer.from(text, 'base64')),
]

/** A device that has enrolled. */
async function enrolled(wish: Wish = {}): Promise<Device> {
  const { body, key } = await request(wish)
  const answer = await post('simpleenroll', body)
  expect(answer.status).toBe(200)
  const [leaf] = certificatesIn(answer)
  const certificate = `${String(leaf?.toString('pem'))}\n`
  const chain = certificate + (await cloud.est.authority()).certificate
  return { id: wish.commonName ?? 'device-1', key, certificate, chain, thumbprint: '' }
}

describe('what anybody may ask for', () => {
  it('cacerts: the authority that issues, and its root', async () => {
    const answer = await get('cacerts')
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'content-type': 'application/pkcs7-mime', 'content-transfer-encoding': 'base64' },
    })
    expect(answer.text).toMatch(/^[A-Za-z0-9+/]+=*$/)
    const [issuer, root] = certificatesIn(answer)
    expect(issuer?.issuer).toBe(root?.subject)
    expect(`${String(issuer?.toString('pem'))}\n${String(root?.toString('pem'))}\n`).toBe(
      (await cloud.est.authority()).chain,
    )
  })

  it('csrattrs: nothing, or what a label has, encoded as in the example of RFC 7030, 4.5.2', async () => {
    expect(await get('csrattrs')).toMatchObject({ status: 204, text: '' })
    cloud.est.put({
      label: 'example',
      attributes: [
        '1.2.840.113549.1.9.7',
        { type: '1.2.840.10045.2.1', values: ['1.3.132.0.34'] },
        { type: '1.2.840.113549.1.9.14', values: ['1.3.6.1.1.1.1.22'] },
        '1.2.840.10045.4.3.3',
      ],
    })
    expect(await get('example/csrattrs')).toMatchObject({
      status: 200,
      headers: { 'content-type': 'application/csrattrs' },
      text: 'MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw==',
    })
  })
})

describe('simpleenroll', () => {
  it('issues to whoever has the password: the leaf alone, with the names of the request', async () => {
    const { body } = await request({ alternativeName: 'device-1.example' })
    const told = cloud.waitFor('estAnswered')
    const answer = await post('simpleenroll', body)
    expect(answer).toMatchObject({
      status: 200,
      headers: { 'content-type': 'application/pkcs7-mime; smime-type=certs-only' },
    })
    const [leaf, ...others] = certificatesIn(answer)
    expect(others).toEqual([])
    expect(leaf?.subject).toBe('CN=device-1')
    expect(leaf?.getExtension(SubjectAlternativeNameExtension)?.names.items[0]?.value).toBe(
      'device-1.example',
    )
    expect(await told).toMatchObject({ operation: 'simpleenroll', status: 200, commonName: 'device-1' })
  })

  it('reads Base64 with line breaks, and whatever Content-Transfer-Encoding says (RFC 8951, 3)', async () => {
    const { body } = await request()
    const lines = body.replace(/.{64}/g, '$&\r\n \t')
    const headers = { ...basic(estUser, cloud.est.password), 'content-transfer-encoding': 'binary' }
    expect((await post('simpleenroll', lines, { headers })).status).toBe(200)
  })

  it('issues to whoever has a certificate of a trusted manufacturer', async () => {
    const maker = await TestAuthority.createRoot({ commonName: 'maker' })
    const device = await createDevice(maker, 'serial-1')
    const { body } = await request()
    const headers = {}
    expect((await post('simpleenroll', body, { headers, device })).status).toBe(401)
    cloud.est.trust(maker.certificate)
    expect((await post('simpleenroll', body, { headers, device })).status).toBe(200)
  })

  it.each<[what: string, status: number, text: RegExp, ask: () => Promise<RawAnswer>]>([
    ['nobody', 401, /user name/, async () => post('simpleenroll', (await request()).body, { headers: {} })],
    [
      'a wrong password',
      401,
      /wrong/,
      async () => post('simpleenroll', (await request()).body, { headers: basic(estUser, 'guess') }),
    ],
    [
      'another scheme',
      401,
      /user name/,
      async () =>
        post('simpleenroll', (await request()).body, { headers: { authorization: 'Bearer abcdef' } }),
    ],
    ['no Base64', 400, /Base64/, async () => post('simpleenroll', '{}')],
    ['nothing', 400, /Base64/, async () => post('simpleenroll', '')],
    ['no request', 400, /Base64 of a PKCS#10/, async () => post('simpleenroll', 'AAAA')],
    [
      'PEM',
      400,
      /Base64/,
      async () => post('simpleenroll', `-----BEGIN CERTIFICATE REQUEST-----\n${(await request()).body}\n`),
    ],
    [
      'a signature by another key',
      400,
      /signed with the key/,
      async () => post('simpleenroll', await unprovenRequestFor('device-1')),
    ],
    [
      'a request that is tied to another connection',
      400,
      /tls-unique/,
      async () => post('simpleenroll', (await request({ password: 'AAAAAAAAAAAAAAAA' })).body),
    ],
    [
      'another type',
      415,
      /application\/pkcs10/,
      async () => post('simpleenroll', (await request()).body, { headers: { 'content-type': 'text/plain' } }),
    ],
    ['too much', 413, /larger/, async () => post('simpleenroll', 'A'.repeat(70_000))],
    ['a label that is not there', 404, /label "nowhere"/, async () => get('nowhere/cacerts')],
    ['a path that is not there', 404, /nothing/, async () => get('a/b/cacerts')],
    ['what it cannot do', 501, /serverkeygen/, async () => post('serverkeygen', 'AAAA')],
    ['GET', 405, /POST/, async () => get('simpleenroll')],
    ['POST of cacerts', 405, /GET/, async () => post('cacerts', '')],
  ])('refuses %s with %i, as text', async (_what, status, text, ask) => {
    const answer = await ask()
    expect(answer).toMatchObject({ status, headers: { 'content-type': 'text/plain' } })
    expect(answer.text).toMatch(text)
    expect(answer.headers['www-authenticate']).toBe(status === 401 ? 'Basic realm="estrealm"' : undefined)
  })

  it('refuses what a label asks for and the request has not', async () => {
    cloud.est.put({
      label: 'strict',
      attributes: ['1.2.840.113549.1.9.7', { type: '1.2.840.10045.2.1', values: ['1.3.132.0.34'] }],
    })
    const { body } = await request()
    expect(await post('strict/simpleenroll', body)).toMatchObject({
      status: 400,
      text: expect.stringContaining('challengePassword') as string,
    })
    cloud.est.put({
      label: 'strict',
      attributes: [{ type: '1.2.840.10045.2.1', values: ['1.3.132.0.34'] }],
    })
    expect(await post('strict/simpleenroll', body)).toMatchObject({
      status: 400,
      text: 'Expected a key of P-384, got one of P-256.\n',
    })
    expect((await post('strict/simpleenroll', (await request({ keyType: 'P-384' })).body)).status).toBe(200)
  })
})

describe('simplereenroll', () => {
  it('renews for whoever has the certificate, and no password', async () => {
    const device = await enrolled({ alternativeName: 'device-1.example' })
    const { body } = await request({ alternativeName: 'device-1.example' })
    const answer = await post('simplereenroll', body, { headers: {}, device })
    expect(answer.status).toBe(200)
    expect(certificatesIn(answer)[0]?.subject).toBe('CN=device-1')
  })

  it.each<[what: string, status: number, wish: Wish, by: () => Promise<Device | undefined>]>([
    ['without a certificate', 403, {}, () => Promise.resolve(undefined)],
    [
      'by a certificate of somebody else',
      403,
      {},
      async () => createDevice(await TestAuthority.createRoot({ commonName: 'stranger' }), 'device-1'),
    ],
    ['for another subject', 400, { commonName: 'device-2' }, () => enrolled()],
    ['for other alternative names', 400, { alternativeName: 'more.example' }, () => enrolled()],
    [
      'by a revoked certificate',
      403,
      {},
      async () => {
        const told = cloud.waitFor('estAnswered')
        const device = await enrolled()
        cloud.est.revoke(String((await told).thumbprint))
        return device
      },
    ],
    [
      'by an expired certificate',
      403,
      {},
      async () => {
        const device = await enrolled()
        cloud.faults.set('clock-skew', { ms: 91 * 86_400_000 })
        return device
      },
    ],
  ])('does not renew %s: %i', async (_what, status, wish, by) => {
    const device = await by()
    const { body } = await request(wish)
    const answer = await post('simplereenroll', body, device === undefined ? {} : { device, headers: {} })
    expect(answer).toMatchObject({ status, headers: { 'content-type': 'text/plain' } })
  })
})

describe('a label with manual approval', () => {
  it.each([
    ['seconds', /^30$/],
    ['date', /^\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT$/],
  ] as const)('puts off in %s, and issues when the request comes again after a yes', async (form, fits) => {
    cloud.est.put({ label: 'slow', approval: 'manual', retryAfterSeconds: 30, retryAfterForm: form })
    const { body } = await request()
    for (let again = 0; again < 2; again += 1) {
      const answer = await post('slow/simpleenroll', body)
      expect(answer.status).toBe(202)
      expect(answer.headers['retry-after']).toMatch(fits)
    }
    expect(cloud.est.pending).toMatchObject([{ label: 'slow', commonName: 'device-1', decision: 'waiting' }])
    cloud.est.approve()
    expect((await post('slow/simpleenroll', body)).status).toBe(200)
    expect(cloud.est.pending).toEqual([])
  })

  it('refuses after a no', async () => {
    cloud.est.put({ label: 'slow', approval: 'manual' })
    const { body } = await request()
    await post('slow/simpleenroll', body)
    cloud.est.reject(cloud.est.pending[0]?.id)
    expect((await post('slow/simpleenroll', body)).status).toBe(403)
    expect(() => cloud.est.approve('unknown')).toThrow(RangeError)
  })

  it('knows its requests, users and authority after a restart', async () => {
    const data = await temporaryFolder()
    const before = await SimulatedCloud.start({ data, hubs: ['hub-a'] })
    cloud = before
    before.est.put({ label: 'slow', approval: 'manual' })
    const { body } = await request()
    expect((await post('slow/simpleenroll', body)).status).toBe(202)
    const { certificate } = await before.est.authority()
    await before.close()

    cloud = await SimulatedCloud.start({ data })
    onTestFinished(() => cloud.close())
    expect(cloud.est.password).toBe(before.est.password)
    expect((await cloud.est.authority()).certificate).toBe(certificate)
    cloud.est.approve()
    expect((await post('slow/simpleenroll', body)).status).toBe(200)
  })
})

describe('with a fault', () => {
  it.each<[fault: FaultName, settings: object, expected: object]>([
    ['est-error', { status: 503 }, { status: 503, text: 'A fault was asked for.\n' }],
    ['est-throttled', { retryAfter: 7 }, { status: 429, headers: { 'retry-after': '7' } }],
    ['issuance-stuck', {}, { status: 202 }],
  ])('%s', async (fault, settings, expected) => {
    cloud.faults.set(fault, settings)
    const { body } = await request()
    expect(await post('simpleenroll', body)).toMatchObject(expected)
    cloud.faults.clear()
    expect((await post('simpleenroll', body)).status).toBe(200)
  })

  it('est-garbage, then issuance-wrong: what comes is no message, then for another key', async () => {
    cloud.faults.set('est-garbage', { times: 1 })
    const { body } = await request()
    const garbage = await post('simpleenroll', body)
    expect(garbage.status).toBe(200)
    expect(() => certificatesIn(garbage)).toThrow()
    cloud.faults.set('issuance-wrong', { times: 1 })
    const [wrong, right] = await Promise.all([post('simpleenroll', body), post('simpleenroll', body)])
    const keys = [wrong, right].map((answer) => certificatesIn(answer)[0]?.publicKey.toString('pem'))
    expect(new Set(keys).size).toBe(2)
  })
})

it.each<[what: string, profile: object]>([
  ['a label with a slash', { label: 'a/b' }],
  ['a label that is an operation', { label: 'cacerts' }],
  ['no validity', { label: 'x', validityDays: 0 }],
  ['half a second', { label: 'x', retryAfterSeconds: 0.5 }],
  ['no object identifier', { label: 'x', attributes: ['challengePassword'] }],
])('takes no profile with %s', (_what, profile) => {
  expect(() => cloud.est.put(profile as { label: string })).toThrow(RangeError)
})
