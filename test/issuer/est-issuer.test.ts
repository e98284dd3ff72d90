import { webcrypto } from 'node:crypto'
import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { inspect } from 'node:util'
import {
  estUser,
  generateKeyFile,
  SimulatedCloud,
  TestAuthority,
  type EstProfile,
  type FaultName,
  type IssuedLeaf,
} from 'leafkeeper-sim'
import { beforeEach, describe, expect, it, onTestFinished } from 'vitest'
import type { DeviceId } from '../../src/brands.ts'
import { checkIssuedChain } from '../../src/certificate/check-issued-chain.ts'
import { base64OfRequest, publicKeyOfRequest } from '../../src/certificate/request.ts'
import { Pkcs10CertificateRequest } from '../../src/certificate/x509.ts'
import { estIssuer } from '../../src/issuer/est-issuer.ts'
import type { EstBootstrap, EstIssuerOptions } from '../../src/issuer/est-options.ts'
import type { IssueAnswer, IssueRequest } from '../../src/issuer/issuer.ts'
import { Secret } from '../../src/secret.ts'
import type { DeviceCredential } from '../../src/transport/credential.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { credentialOf } from '../transport/support/authority.ts'
import { issueRequest } from './requests.ts'

const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })
const saying = (text: string): { message: unknown } => ({ message: expect.stringContaining(text) as unknown })

let cloud: SimulatedCloud

beforeEach(async () => {
  cloud = await SimulatedCloud.start({ hubs: ['hub-a'] })
  onTestFinished(() => cloud.close())
})

const passwordOf = (text: string): EstBootstrap => ({
  basic: { user: estUser, password: { callback: () => new Secret(text) } },
})

const options = (change: Partial<EstIssuerOptions> = {}): EstIssuerOptions => ({
  server: cloud.address,
  trustedAuthorities: cloud.trustedAuthorities,
  bootstrap: passwordOf(cloud.est.password),
  ...change,
})

/** Checked as the agent does it. */
function chainIn(answer: IssueAnswer, request: IssueRequest): string {
  if (answer.kind !== 'issued') throw new Error('Expected a certificate, it is pending.')
  return checkIssuedChain({
    chain: answer.chain,
    publicKey: publicKeyOfRequest(request.csr),
    commonName: request.commonName,
    now: Date.now(),
  })
}

/** A device that has a certificate, with its key in a file. */
async function identity(
  authority: TestAuthority,
  name = 'device-1',
  validity: Partial<Pick<IssuedLeaf, 'notAfter'>> = {},
): Promise<DeviceCredential> {
  const { publicKey, privateKeyPem } = await generateKeyFile()
  const leaf = await authority.issueLeaf({ commonName: name, publicKey, ...validity })
  return credentialOf(name, { certificate: leaf.chain, key: privateKeyPem })
}

const bootstrap = async (): Promise<IssueRequest> => issueRequest({ reason: 'bootstrap' })

describe('the first certificate', () => {
  it('comes by simpleenroll and a password, with those who have signed it and without their root', async () => {
    const request = await bootstrap()
    const told = cloud.waitFor('estAnswered')
    const chain = chainIn(await estIssuer(options()).submit(request), request)
    expect(await told).toMatchObject({ operation: 'simpleenroll', label: '', status: 200 })
    expect(chain.match(/BEGIN/g)).toHaveLength(2)
    expect(chain).toContain((await cloud.est.authority()).certificate.trim())
  })

  it('comes under a label', async () => {
    cloud.est.put({ label: 'weekly', validityDays: 7 })
    const request = await bootstrap()
    const told = cloud.waitFor('estAnswered')
    chainIn(await estIssuer(options({ label: 'weekly' })).submit(request), request)
    expect(await told).toMatchObject({ label: 'weekly', status: 200 })
  })

  it('comes by a certificate of the manufacturer, with its key in a file', async () => {
    const maker = await TestAuthority.createRoot({ commonName: 'maker' })
    cloud.est.trust(maker.certificate)
    const folder = await temporaryFolder()
    const { publicKey, privateKeyPem } = await generateKeyFile()
    const { chain } = await maker.issueLeaf({ commonName: 'serial-1', publicKey })
    const [certificate, key] = ['chain.pem', 'key.pem'].map((name) => ({ file: join(folder, name) }))
    if (certificate === undefined || key === undefined) throw new Error('no files')
    await writeFile(certificate.file, chain)
    await writeFile(key.file, privateKeyPem)
    const request = await bootstrap()
    const issuer = estIssuer(options({ bootstrap: { certificate: { certificate, key } } }))
    chainIn(await issuer.submit(request), request)
    await writeFile(key.file, (await generateKeyFile()).privateKeyPem)
    await expect(issuer.submit(request)).rejects.toEqual(
      withCode('ISSUER_CREDENTIAL_MISSING', saying(key.file)),
    )
  })

  it.each<[what: string, password: NonNullable<EstBootstrap['basic']>['password'], why: string]>([
    ['file', { file: '/nowhere/password' }, '/nowhere/password'],
    ['variable', { env: 'LEAFKEEPER_NO_SUCH_VARIABLE' }, 'LEAFKEEPER_NO_SUCH_VARIABLE'],
    ['callback', { callback: () => new Secret('') }, 'callback'],
  ])('does not come where the password is in no %s', async (_what, password, why) => {
    const issuer = estIssuer(options({ bootstrap: { basic: { user: estUser, password } } }))
    await expect(issuer.submit(await bootstrap())).rejects.toEqual(
      withCode('ISSUER_CREDENTIAL_MISSING', { retryable: false, ...saying(why) }),
    )
  })

  it('does not come without anything to show', async () => {
    const { bootstrap: _none, ...rest } = options()
    await expect(estIssuer(rest).submit(await bootstrap())).rejects.toEqual(
      withCode('AGENT_CONFIG_INVALID', saying('bootstrap')),
    )
  })

  it('never says the password', async () => {
    const password = 'correct horse battery'
    const issuer = estIssuer(options({ bootstrap: passwordOf(password) }))
    const error: unknown = await issuer.submit(await bootstrap()).catch((thrown: unknown) => thrown)
    expect(error).toEqual(withCode('ISSUER_REFUSED', { reason: '401' }))
    const encoded = Buffer.from(`${estUser}:${password}`).toString('base64')
    for (const text of [inspect(error, { depth: 10 }), inspect(issuer, { depth: 10 })])
      for (const secret of [password, encoded]) expect(text).not.toContain(secret)
  })
})

describe('a later certificate', () => {
  it('comes by simplereenroll and the certificate in use, without a password', async () => {
    const credential = await identity(await cloud.est.authority())
    const request = await issueRequest({ credential })
    const told = cloud.waitFor('estAnswered')
    const { bootstrap: _none, ...rest } = options()
    chainIn(await estIssuer(rest).submit(request), request)
    expect(await told).toMatchObject({ operation: 'simplereenroll', status: 200 })
  })

  it.each<[when: string, change: () => Promise<Partial<IssueRequest> & { now?: () => number }>]>([
    ['for a breach', () => Promise.resolve({ reason: 'breach' })],
    [
      'once the one in use has expired',
      () => Promise.resolve({ now: () => Date.now() + 100 * 365 * 86_400_000 }),
    ],
  ])('comes as the first one did %s', async (_when, change) => {
    const { now, ...changed } = await change()
    const credential = await identity(await cloud.est.authority())
    const request = await issueRequest({ credential, ...changed })
    const told = cloud.waitFor('estAnswered')
    chainIn(await estIssuer(options(now === undefined ? {} : { now })).submit(request), request)
    expect(await told).toMatchObject({ operation: 'simpleenroll', status: 200 })
  })

  it('comes by the one in use also for a breach, where there is nothing else to show', async () => {
    const { bootstrap: _none, ...rest } = options()
    const credential = await identity(await cloud.est.authority())
    const request = await issueRequest({ credential, reason: 'breach' })
    const told = cloud.waitFor('estAnswered')
    chainIn(await estIssuer(rest).submit(request), request)
    expect(await told).toMatchObject({ operation: 'simplereenroll', status: 200 })
  })

  it.each<[what: string, status: string, request: () => Promise<IssueRequest>]>([
    [
      'the one in use is of somebody else',
      '403',
      async () =>
        issueRequest({ credential: await identity(await TestAuthority.createRoot({ commonName: 'other' })) }),
    ],
    [
      'the names are others',
      '400',
      async () =>
        issueRequest({
          credential: await identity(await cloud.est.authority()),
          commonName: 'device-2' as DeviceId,
        }),
    ],
  ])('ends the roll where %s', async (_what, reason, request) => {
    await expect(estIssuer(options()).submit(await request())).rejects.toEqual(
      withCode('ISSUER_REFUSED', { retryable: false, reason, ...saying('simplereenroll') }),
    )
  })
})

describe('a certificate that takes its time', () => {
  it.each(['seconds', 'date'] as const)(
    'is pending for what Retry-After says in %s, and comes to the same request, by another process',
    async (retryAfterForm) => {
      cloud.est.put({ label: '', approval: 'manual', retryAfterSeconds: 30, retryAfterForm })
      const request = await bootstrap()
      const answer = await estIssuer(options()).submit(request)
      if (answer.kind !== 'pending') throw new Error('it is there')
      expect(answer.retryAfterMs).toBeLessThanOrEqual(31_000)
      expect(answer.retryAfterMs).toBeGreaterThanOrEqual(29_000)
      expect(await estIssuer(options()).resume(answer.ticket, request)).toMatchObject({
        kind: 'pending',
        ticket: answer.ticket,
      })
      cloud.est.approve()
      // Another process signs its request anew; the one that was sent is sent again.
      const again = { ...request, csr: await request.sign({}) }
      chainIn(await estIssuer(options()).resume(answer.ticket, again), request)
      expect(cloud.est.pending).toEqual([])
    },
  )

  it('is refused at last', async () => {
    cloud.est.put({ label: '', approval: 'manual' })
    const request = await bootstrap()
    const answer = await estIssuer(options()).submit(request)
    cloud.est.reject()
    await expect(
      estIssuer(options()).resume(answer.kind === 'pending' ? answer.ticket : '', request),
    ).rejects.toEqual(withCode('ISSUER_REFUSED', { reason: '403' }))
  })

  it.each(['', 'request-1', 'AAAA', 'the ticket of another issuer'])(
    'is asked for anew with the ticket %j, which is none of its own',
    async (ticket) => {
      const request = await bootstrap()
      chainIn(await estIssuer(options()).resume(ticket, request), request)
    },
  )

  it('is asked for anew with the request for another key', async () => {
    const [request, other] = [await bootstrap(), await bootstrap()]
    cloud.est.put({ label: '', approval: 'manual' })
    const answer = await estIssuer(options()).submit(other)
    cloud.est.put({ label: '', approval: 'automatic' })
    chainIn(
      await estIssuer(options()).resume(answer.kind === 'pending' ? answer.ticket : '', request),
      request,
    )
  })
})

describe('whom it trusts', () => {
  it('does not say anything to a server that cannot prove its name', async () => {
    const { certificate } = await TestAuthority.createRoot({ commonName: 'somebody' })
    let isAnswered = false
    cloud.events.on('estAnswered', () => (isAnswered = true))
    await expect(
      estIssuer(options({ trustedAuthorities: certificate })).submit(await bootstrap()),
    ).rejects.toEqual(withCode('TLS_SERVER_UNTRUSTED'))
    expect(isAnswered).toBe(false)
  })

  it('takes a chain that ends at a given anchor, and no other', async () => {
    const { chain } = await cloud.est.authority()
    const request = await bootstrap()
    const [issuer, root] = chain.split(/(?<=-----END CERTIFICATE-----\n)/)
    for (const anchors of [issuer, root, chain])
      chainIn(await estIssuer(options({ anchors: String(anchors) })).submit(request), request)
    const { certificate } = await TestAuthority.createRoot({ commonName: 'somebody' })
    await expect(estIssuer(options({ anchors: certificate })).submit(request)).rejects.toEqual(
      withCode('CERT_CHAIN_BROKEN', { retryable: false }),
    )
  })
})

describe('what the server wants of a request', () => {
  const p384 = { type: '1.2.840.10045.2.1', values: ['1.3.132.0.34'] }
  const p256 = { type: '1.2.840.10045.2.1', values: ['1.2.840.10045.3.1.7'] }
  const unknown = '1.3.6.1.1.1.1.22'

  it.each<[what: string, attributes: EstProfile['attributes']]>([
    ['a key as it is', [p256]],
    ['one of several', [p384, p256, { type: '1.2.840.113549.1.1.1', values: [] }]],
    ['any of its kind', [{ type: '1.2.840.10045.2.1', values: [] }]],
    ['a signature as it is', ['1.2.840.10045.4.3.2', '1.2.840.10045.4.3.3']],
    ['something that is not known here', [unknown, { type: unknown, values: [unknown] }]],
  ])('%s, it has', async (_what, attributes) => {
    cloud.est.put({ label: '', attributes })
    const request = await bootstrap()
    chainIn(await estIssuer(options()).submit(request), request)
  })

  it.each<[what: string, attributes: EstProfile['attributes'], why: string]>([
    ['another curve', [p384], 'EC-P384'],
    [
      'a curve that is not known here',
      [{ ...p384, values: ['1.3.36.3.3.2.8.1.1.7'] }],
      '1.3.36.3.3.2.8.1.1.7',
    ],
    ['RSA', ['1.2.840.113549.1.1.1'], 'RSA'],
    ['RSA of a size', [{ type: '1.2.840.113549.1.1.1', values: [Uint8Array.of(2, 2, 0x0c, 0)] }], 'RSA-3072'],
    ['another hash', ['1.2.840.10045.4.3.3'], 'SHA-384'],
  ])('%s, it has not, and says so before it asks', async (_what, attributes, why) => {
    cloud.est.put({ label: '', attributes })
    let isAnswered = false
    cloud.events.on('estAnswered', () => (isAnswered = true))
    await expect(estIssuer(options()).submit(await bootstrap())).rejects.toEqual(
      withCode('ISSUER_REFUSED', { retryable: false, ...saying(why) }),
    )
    expect(isAnswered).toBe(false)
  })
})

describe('what the server wants in a request', () => {
  const challengePassword = '1.2.840.113549.1.9.7'
  /** keyUsage: digitalSignature, critical; and an extension nobody knows. */
  const usage = Buffer.from('300e0603551d0f0101ff040403020780', 'hex')
  const unknown = Buffer.from('300c06042a030405040402020102', 'hex')
  const extensions = (...each: Buffer[]): EstProfile['attributes'] => {
    const body = Buffer.concat(each)
    return [{ type: '1.2.840.113549.1.9.14', values: [Buffer.concat([Buffer.of(0x30, body.length), body])] }]
  }
  const sentTo = async (
    attributes: EstProfile['attributes'],
    change: Parameters<typeof issueRequest>[0] = {},
  ) => {
    cloud.est.put({ label: '', attributes, approval: 'manual', retryAfterSeconds: 0 })
    const request = await issueRequest({ reason: 'bootstrap', ...change })
    const answer = await estIssuer(options()).submit(request)
    if (answer.kind !== 'pending') throw new Error('Expected the request to wait.')
    return { request, answer, sent: () => new Pkcs10CertificateRequest(answer.ticket) }
  }

  it('extensions: it has them, byte for byte, signed by the same key', async () => {
    const { request, sent } = await sentTo(extensions(usage, unknown))
    expect(await sent().verify(webcrypto)).toBe(true)
    expect(new Uint8Array(sent().publicKey.rawData)).toEqual(publicKeyOfRequest(request.csr))
    expect(sent().extensions.map(({ rawData }) => Buffer.from(rawData))).toEqual([usage, unknown])
  })

  it('more than is kept of a request: it is made again', async () => {
    const long = Buffer.concat([
      Buffer.from('30820fa906042a030405', 'hex').subarray(0, 4),
      Buffer.from('06042a030405', 'hex'),
      Buffer.from('04820f9f', 'hex'),
      Buffer.alloc(0xf9f, 1),
    ])
    const attribute = Buffer.concat([Buffer.from('30820fad', 'hex'), long])
    const { request, answer } = await sentTo([{ type: '1.2.840.113549.1.9.14', values: [attribute] }])
    expect(answer.ticket.length).toBeLessThan(100)
    cloud.est.approve()
    chainIn(await estIssuer(options()).resume(answer.ticket, request), request)
  })

  it('an extension that is there already: it stays as it is', async () => {
    const theirs = Buffer.from('30140603551d11040d300b820974686569722e6e6574', 'hex')
    const { sent } = await sentTo(extensions(theirs, usage), { alternativeName: 'device-1.example' })
    expect(sent().extensions.map(({ type }) => type)).toEqual(['2.5.29.17', '2.5.29.15'])
    expect(sent().extensions[0]?.toString('text')).toContain('device-1.example')
  })

  it.each([
    ['object identifiers in place of extensions', [{ type: '1.2.840.113549.1.9.14', values: ['2.5.29.15'] }]],
    ['an extension without a value', extensions(Buffer.from('30070603551d0f0400', 'hex'))],
  ])('%s: it is as it was', async (_what, attributes) => {
    const { request, answer } = await sentTo(attributes)
    expect(answer.ticket).toBe(base64OfRequest(request.csr))
  })

  it.each<[what: string, credential: () => Promise<DeviceCredential | undefined>]>([
    ['password', () => Promise.resolve(undefined)],
    ['certificate in use', async () => identity(await cloud.est.authority())],
  ])('to be tied to its connection, by %s: it is, over TLS 1.2, each time it is sent', async (_what, by) => {
    const attributes = [challengePassword, ...extensions(usage)]
    cloud.est.put({ label: '', attributes, approval: 'manual', retryAfterSeconds: 0 })
    const credential = await by()
    const request = await issueRequest({ ...(credential === undefined ? {} : { credential }) })
    const answer = await estIssuer(options()).submit(request)
    if (answer.kind !== 'pending') throw new Error('Expected the request to wait.')
    cloud.est.approve()
    chainIn(await estIssuer(options()).resume(answer.ticket, request), request)
  })
})

describe('a server in trouble', () => {
  it.each<[fault: FaultName, settings: object, code: string, rest: object]>([
    ['est-error', { status: 503 }, 'ISSUER_UNAVAILABLE', { retryable: true, reason: '503' }],
    [
      'est-throttled',
      { retryAfter: 7 },
      'ISSUER_UNAVAILABLE',
      { retryable: true, reason: '429', retryAfterMs: 7_000 },
    ],
    ['est-garbage', {}, 'CERT_UNREADABLE', { retryable: false }],
    ['issuance-wrong', {}, 'CERT_KEY_MISMATCH', { retryable: false }],
  ])('%s is %s', async (fault, settings, code, rest) => {
    cloud.faults.set(fault, settings)
    await expect(estIssuer(options()).submit(await bootstrap())).rejects.toEqual(withCode(code, rest))
    cloud.faults.clear()
    const request = await bootstrap()
    chainIn(await estIssuer(options()).submit(request), request)
  })

  it('a label that is not there ends the roll', async () => {
    await expect(estIssuer(options({ label: 'nowhere' })).submit(await bootstrap())).rejects.toEqual(
      withCode('ISSUER_REFUSED', { reason: '404', ...saying('nowhere') }),
    )
  })

  it('that cannot be reached is tried again', async () => {
    await cloud.pauseListening()
    await expect(estIssuer(options()).submit(await bootstrap())).rejects.toEqual(
      withCode('NETWORK_UNREACHABLE', { retryable: true }),
    )
  })
})

it('leaves no connection open', async () => {
  const issuer = estIssuer(options())
  await issuer.submit(await bootstrap())
  await expect(estIssuer(options({ label: 'nowhere' })).submit(await bootstrap())).rejects.toThrow('404')
  while (cloud.openConnections > 0) await cloud.waitFor('connectionEnded')
})

it.each<[what: string, change: Partial<EstIssuerOptions>]>([
  ['server', { server: 'https://est.example' }],
  ['server', { server: '' }],
  ['label', { label: 'a/b' }],
  ['label', { label: 'cacerts' }],
  ['deadlineMs', { deadlineMs: 0 }],
  ['deadlineMs', { deadlineMs: 600_000 }],
  ['retryAfterMs', { retryAfterMs: Number.NaN }],
  ['anchors', { anchors: 'none' }],
  ['user', { bootstrap: { basic: { user: 'a:b', password: { env: 'X' } } } }],
  ['bootstrap', { bootstrap: {} }],
])('a wrong %s is refused: %j', (_what, change) => {
  expect(() => estIssuer(options(change))).toThrow(expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }))
})
