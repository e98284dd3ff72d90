/**
 * The messages of RFC 7030, appendix A, as they stand there (test/issuer/rfc7030): A.1 obtains the authorities, A.2 the
 * attributes of requests, A.3 enrols. RFC 8951 has no messages of its own; it says how those of RFC 7030 are encoded,
 * and so each is read in every way that it allows.
 */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestAuthority } from 'leafkeeper-sim'
import { beforeAll, describe, expect, it } from 'vitest'
import type { DeviceId, Pem } from '../../src/brands.ts'
import { toPem } from '../../src/hsm/pem.ts'
import { estIssuer } from '../../src/issuer/est-issuer.ts'
import type { IssueRequest, Issuer } from '../../src/issuer/issuer.ts'
import { Secret } from '../../src/secret.ts'
import { issueRequest } from './requests.ts'
import { scriptedEst, type Said, type ScriptedEst, type Script } from './scripted-est.ts'

/** With a line break after every 64 characters. */
const example = (name: string): string =>
  readFileSync(join(import.meta.dirname, 'rfc7030', `${name}.b64`), 'latin1')
const inOneLine = (text: string): string => text.replace(/\s/g, '')

const [cacerts, csrattrs, request, response] = ['cacerts', 'csrattrs', 'request', 'response'].map(
  example,
) as [string, string, string, string]

let authority: TestAuthority

beforeAll(async () => {
  authority = await TestAuthority.createRoot({ commonName: 'of the server' })
})

/** The header fields of the examples. */
const said = (type: string, body: string): Said => ({
  headers: {
    status: '200 OK',
    'content-type': type,
    'content-transfer-encoding': 'base64',
    'content-length': body.length,
  },
  body,
})

const asInTheExamples: Script = {
  cacerts: () => said('application/pkcs7-mime', cacerts),
  simpleenroll: () => said('application/pkcs7-mime; smime-type=certs-only', response),
}

const issuerAt = ({ server, connectTo }: ScriptedEst): Issuer =>
  estIssuer({
    server,
    connectTo,
    trustedAuthorities: authority.certificate,
    bootstrap: { basic: { user: 'estuser', password: { callback: () => new Secret('estpwd') } } },
  })

/** The request of A.3. Whoever has its key is not here, and it is sent as it is. */
const theRequest = (): IssueRequest => ({
  csr: toPem([Buffer.from(request, 'base64')], 'CERTIFICATE REQUEST'),
  sign: () => Promise.reject(new Error('nobody has the key')),
  commonName: 'demostep4 1368141352' as DeviceId,
  requestId: 'request-1',
  reason: 'bootstrap',
  signal: new AbortController().signal,
})

/** The certificate of A.3: its DER stands at the end of the message, before an empty set of signers. */
const theCertificate = (): Pem => {
  const message = Buffer.from(response, 'base64')
  const start = message.indexOf(Buffer.from('30820307308201ef', 'hex'))
  return toPem([message.subarray(start, start + 4 + 0x307)])
}

describe('the enrolment of A.3, after A.1', () => {
  it('is asked for byte for byte, and the certificate is taken', async () => {
    const est = await scriptedEst(authority, asInTheExamples)
    // It is signed by the root "NwN" of A.1, which the other side has to have.
    expect(await issuerAt(est).submit(theRequest())).toEqual({ kind: 'issued', chain: theCertificate() })
    const authorization = `Basic ${Buffer.from('estuser:estpwd').toString('base64')}`
    const common = ['host', 'est.example', 'connection', 'close', 'authorization', authorization]
    expect(
      est.asked.map(({ method, path, rawHeaders, body }) => ({ method, path, rawHeaders, body })),
    ).toEqual([
      { method: 'GET', path: '/.well-known/est/cacerts', rawHeaders: common, body: '' },
      { method: 'GET', path: '/.well-known/est/csrattrs', rawHeaders: common, body: '' },
      {
        method: 'POST',
        path: '/.well-known/est/simpleenroll',
        rawHeaders: [...common, 'content-type', 'application/pkcs10', 'content-length', '868'],
        body: inOneLine(request),
      },
    ])
  })

  it.each<[how: string, encode: (text: string) => string, headers: object]>([
    ['in one line', inOneLine, {}],
    ['with CR and LF', (text) => text.replaceAll('\n', '\r\n'), {}],
    ['with spaces and tabs', (text) => text.replace(/(.{30})/g, '$1 \t'), {}],
    ['without Content-Transfer-Encoding', (text) => text, { 'content-transfer-encoding': undefined }],
    [
      'with a Content-Transfer-Encoding that is wrong',
      (text) => text,
      { 'content-transfer-encoding': 'binary' },
    ],
    ['in capitals', (text) => text, { 'content-type': 'Application/PKCS7-MIME ; smime-type="certs-only"' }],
    ['without a length', (text) => text, { 'content-length': undefined }],
  ])('is read %s', async (_how, encode, headers) => {
    const otherwise = ({ headers: before, body }: Said): Said => {
      const encoded = encode(String(body))
      const after = Object.entries({ ...before, 'content-length': encoded.length, ...headers })
      return { headers: Object.fromEntries(after.filter(([, value]) => value !== undefined)), body: encoded }
    }
    const est = await scriptedEst(authority, {
      cacerts: () => otherwise(said('application/pkcs7-mime', cacerts)),
      simpleenroll: () => otherwise(said('application/pkcs7-mime; smime-type=certs-only', response)),
    })
    expect(await issuerAt(est).submit(theRequest())).toEqual({ kind: 'issued', chain: theCertificate() })
  })
})

describe('the attributes of requests', () => {
  it.each([csrattrs, inOneLine(csrattrs)])(
    'of A.2: a challengePassword is put in, and what is not known is passed over',
    async (body) => {
      const est = await scriptedEst(authority, {
        ...asInTheExamples,
        csrattrs: () => said('application/csrattrs', body),
        simpleenroll: () => ({ status: 202, headers: { 'retry-after': '1' } }),
      })
      const passwords: (string | undefined)[] = []
      const own = await issueRequest({ reason: 'bootstrap' })
      await issuerAt(est).submit({
        ...own,
        sign: (additions) => {
          passwords.push(additions.challengePassword)
          return own.sign(additions)
        },
      })
      const last = est.asked.at(-1)
      expect(last?.protocol).toBe('TLSv1.2')
      expect(passwords).toEqual([last?.tlsUnique])
      // As long as the one in the request of A.3.
      expect(passwords[0]).toHaveLength('+rrCir/7+EYu50T4'.length)
    },
  )

  it('of 4.5.2: the key has to be of the curve that stands there', async () => {
    const body =
      'MEEGCSqGSIb3DQEJBzASBgcqhkjOPQIBMQcGBSuBBAAiMBYGCSqGSIb3DQEJDjEJBgcrBgEBAQEWBggqhkjOPQQDAw=='
    const est = await scriptedEst(authority, {
      ...asInTheExamples,
      csrattrs: () => said('application/csrattrs', body),
    })
    await expect(issuerAt(est).submit(await issueRequest())).rejects.toMatchObject({
      code: 'ISSUER_REFUSED',
      message: expect.stringContaining('EC-P384') as unknown,
    })
  })

  it('that are empty are none', async () => {
    const est = await scriptedEst(authority, {
      ...asInTheExamples,
      csrattrs: () => said('application/csrattrs', 'MAA='),
    })
    expect(await issuerAt(est).submit(theRequest())).toMatchObject({ kind: 'issued' })
  })
})
