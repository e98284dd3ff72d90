import { X509Certificate } from 'node:crypto'
import { TestAuthority } from 'leafkeeper-sim'
import { beforeAll, describe, expect, it } from 'vitest'
import { certsOnly } from '../../sim/est/certs-only.ts'
import { toPem } from '../../src/hsm/pem.ts'
import { estIssuer } from '../../src/issuer/est-issuer.ts'
import type { EstIssuerOptions } from '../../src/issuer/est-options.ts'
import type { IssueAnswer } from '../../src/issuer/issuer.ts'
import { Secret } from '../../src/secret.ts'
import { issueRequest } from './requests.ts'
import { scriptedEst, type Said, type ScriptedEst } from './scripted-est.ts'

let root: TestAuthority
let issuing: TestAuthority
let stranger: TestAuthority

beforeAll(async () => {
  root = await TestAuthority.createRoot({ commonName: 'root' })
  issuing = await root.createIntermediate({ commonName: 'issuing' })
  stranger = await TestAuthority.createRoot({ commonName: 'stranger' })
})

const fingerprintOf = ({ certificate }: TestAuthority): string =>
  new X509Certificate(certificate).fingerprint256

interface Setting {
  /** Who has signed the certificate of the server. Default: the root of those who issue. */
  readonly serverBy?: TestAuthority
  /** PEM. Default: who issues, and the root. */
  readonly published?: readonly string[]
  readonly signer?: TestAuthority
}

/** A server that issues to whoever asks. */
async function server({
  serverBy = root,
  published = [issuing.chain],
  signer = issuing,
}: Setting = {}): Promise<ScriptedEst> {
  const certificates = (chains: readonly string[]): Said => ({
    headers: { 'content-type': 'application/pkcs7-mime' },
    body: certsOnly(chains),
  })
  return scriptedEst(serverBy, {
    cacerts: () => certificates(published),
    simpleenroll: async ({ body }) => {
      const csr = toPem([Buffer.from(body, 'base64')], 'CERTIFICATE REQUEST')
      return certificates([(await signer.issueLeaf({ csr })).certificate])
    },
  })
}

async function asked(
  { server: host, connectTo }: ScriptedEst,
  trust: Pick<EstIssuerOptions, 'trustedAuthorities' | 'anchors' | 'fingerprint'>,
): Promise<IssueAnswer> {
  const basic = { user: '', password: { callback: () => new Secret('a password of nobody') } }
  return estIssuer({ server: host, connectTo, bootstrap: { basic }, ...trust }).submit(
    await issueRequest({ reason: 'bootstrap' }),
  )
}

const withCode = (code: string, text = ''): unknown =>
  expect.objectContaining({ code, message: expect.stringContaining(text) as unknown })

/** What the server was told before it had proved anything. */
const revealed = (est: ScriptedEst): unknown[] =>
  est.asked.map(({ path, headers }) => [path.split('/').at(-1), headers.authorization !== undefined])

describe('a device that knows a fingerprint and nothing else', () => {
  it.each<[how: string, write: (fingerprint: string) => string]>([
    ['with colons', (text) => text],
    ['without, in small letters', (text) => text.replaceAll(':', '').toLowerCase()],
  ])('%s, finds its authority at the server, which then has to prove its name to it', async (_how, write) => {
    const est = await server()
    const answer = await asked(est, { fingerprint: write(fingerprintOf(root)) })
    expect(answer).toMatchObject({
      kind: 'issued',
      chain: expect.stringContaining(issuing.certificate) as unknown,
    })
    expect(revealed(est)).toEqual([
      ['cacerts', false],
      ['cacerts', true],
      ['csrattrs', true],
      ['simpleenroll', true],
    ])
  })

  it('tells nothing to a server that publishes other authorities', async () => {
    const est = await server({ serverBy: stranger, published: [stranger.certificate] })
    await expect(asked(est, { fingerprint: fingerprintOf(root) })).rejects.toEqual(
      withCode('TLS_SERVER_UNTRUSTED', fingerprintOf(root).replaceAll(':', '')),
    )
    expect(revealed(est)).toEqual([['cacerts', false]])
  })

  it('tells nothing to a server that publishes the right one and cannot prove its name to it', async () => {
    const est = await server({ serverBy: stranger })
    await expect(asked(est, { fingerprint: fingerprintOf(root) })).rejects.toEqual(
      withCode('TLS_SERVER_UNTRUSTED'),
    )
    expect(revealed(est)).toEqual([['cacerts', false]])
  })

  it('takes nothing that another authority has issued', async () => {
    const est = await server({ published: [issuing.chain, stranger.certificate], signer: stranger })
    await expect(asked(est, { fingerprint: fingerprintOf(root) })).rejects.toEqual(
      withCode('CERT_CHAIN_BROKEN'),
    )
  })
})

describe('a device that trusts the server otherwise', () => {
  it('takes the fingerprint for the authority that issues, and asks no server that has not proved its name', async () => {
    const est = await server({ serverBy: stranger })
    const trust = { trustedAuthorities: stranger.certificate, fingerprint: fingerprintOf(root) }
    expect(await asked(est, trust)).toMatchObject({ kind: 'issued' })
    const other = await server()
    await expect(asked(other, trust)).rejects.toEqual(withCode('TLS_SERVER_UNTRUSTED'))
    expect(other.asked).toEqual([])
  })

  it('takes what any published authority has issued, also one without its root', async () => {
    const est = await server({ published: [issuing.certificate] })
    expect(await asked(est, { trustedAuthorities: root.certificate })).toMatchObject({
      chain: expect.stringContaining(issuing.certificate) as unknown,
    })
    const wrong = await server({ published: [root.certificate] })
    await expect(asked(wrong, { trustedAuthorities: root.certificate })).rejects.toEqual(
      withCode('CERT_CHAIN_BROKEN', 'issuing'),
    )
  })
})

it.each([
  ['too short', { fingerprint: 'AB:CD' }],
  [
    'beside anchors',
    { fingerprint: 'AB'.repeat(32), anchors: '-----BEGIN CERTIFICATE-----MAA=-----END CERTIFICATE-----' },
  ],
])('a fingerprint that is %s is refused', (_what, trust) => {
  expect(() => estIssuer({ server: 'est.example', ...trust })).toThrow(
    withCode('AGENT_CONFIG_INVALID', 'fingerprint'),
  )
})
