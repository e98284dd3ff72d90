import { TestAuthority } from 'leafkeeper-sim'
import { beforeAll, describe, expect, it } from 'vitest'
import { certsOnly } from '../../sim/est/certs-only.ts'
import { estIssuer } from '../../src/issuer/est-issuer.ts'
import type { EstIssuerOptions } from '../../src/issuer/est-options.ts'
import type { IssueAnswer, IssueRequest } from '../../src/issuer/issuer.ts'
import { Secret } from '../../src/secret.ts'
import { issueRequest } from './requests.ts'
import { scriptedEst, type Said, type Script, type ScriptedEst } from './scripted-est.ts'

let authority: TestAuthority

beforeAll(async () => {
  authority = await TestAuthority.createRoot({ commonName: 'root' })
})

const pkcs7 = { 'content-type': 'application/pkcs7-mime' }
const cacerts = (): Said => ({ headers: pkcs7, body: certsOnly([authority.certificate]) })

async function asked(
  { server, connectTo }: ScriptedEst,
  change: Partial<EstIssuerOptions> = {},
  request: Partial<IssueRequest> = {},
): Promise<IssueAnswer> {
  const basic = { user: 'u', password: { callback: () => new Secret('p') } }
  const trustedAuthorities = authority.certificate
  return estIssuer({ server, connectTo, trustedAuthorities, bootstrap: { basic }, ...change }).submit(
    await issueRequest({ reason: 'bootstrap', ...request }),
  )
}

const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })
const saying = (text: string): { message: unknown } => ({ message: expect.stringContaining(text) as unknown })
const lines = 'A'.repeat(64) + '\n'

describe('an answer to simpleenroll', () => {
  it.each<[what: string, said: Said, error: unknown]>([
    [
      '401, in a scheme that is not known here',
      { status: 401, headers: { 'www-authenticate': 'Digest realm="x", nonce="1"' }, body: 'Who are you?' },
      withCode('ISSUER_REFUSED', { retryable: false, reason: '401', ...saying('"Who are you?"') }),
    ],
    ['403', { status: 403 }, withCode('ISSUER_REFUSED', { reason: '403', ...saying('without a message') })],
    ['404', { status: 404 }, withCode('ISSUER_REFUSED', { reason: '404', ...saying('label') })],
    ['400', { status: 400, body: 'no\tgood\n' }, withCode('ISSUER_REFUSED', saying('"no good"'))],
    ['501', { status: 501 }, withCode('ISSUER_REFUSED', { retryable: false })],
    ['500', { status: 500 }, withCode('ISSUER_UNAVAILABLE', { retryable: true, retryAfterMs: undefined })],
    [
      '503, with a pause',
      { status: 503, headers: { 'retry-after': '120' } },
      withCode('ISSUER_UNAVAILABLE', { retryAfterMs: 120_000 }),
    ],
    [
      '429',
      { status: 429, headers: { 'retry-after': '5' } },
      withCode('ISSUER_UNAVAILABLE', { retryAfterMs: 5_000 }),
    ],
    [
      'a redirection',
      { status: 307, headers: { location: 'https://elsewhere.example/' } },
      withCode('ISSUER_REFUSED', { retryable: false, ...saying('https://elsewhere.example/') }),
    ],
    [
      'very much text',
      { status: 400, body: 'x'.repeat(60_000) },
      withCode('ISSUER_REFUSED', { reason: '400' }),
    ],
    [
      'a page of somebody else',
      { headers: { 'content-type': 'text/html' }, body: '<html>Sign in' },
      withCode('PROTOCOL_ERROR', { retryable: true, ...saying('text/html') }),
    ],
    ['of no type', { body: 'MAA=' }, withCode('PROTOCOL_ERROR', saying('""'))],
    [
      'bytes',
      { headers: pkcs7, body: Buffer.of(0x30, 0x80, 0, 0) },
      withCode('PROTOCOL_ERROR', saying('Base64')),
    ],
    ['nothing', { headers: pkcs7, body: '' }, withCode('PROTOCOL_ERROR', saying('Base64'))],
    ['cut Base64', { headers: pkcs7, body: 'MIIDO' }, withCode('PROTOCOL_ERROR', saying('Base64'))],
    ['no message', { headers: pkcs7, body: lines }, withCode('CERT_UNREADABLE', { retryable: false })],
    [
      'no certificate',
      { headers: pkcs7, body: certsOnly([]) },
      withCode('CERT_UNREADABLE', { retryable: false }),
    ],
    [
      'too much',
      { headers: pkcs7, body: lines.repeat(1_100) },
      withCode('CERT_TOO_LARGE', { retryable: false, ...saying('simpleenroll') }),
    ],
  ])('that is %s', async (_what, said, error) => {
    const est = await scriptedEst(authority, { cacerts, simpleenroll: () => said })
    await expect(asked(est)).rejects.toEqual(error)
    await est.left()
  })

  it.each<[what: string, headers: Record<string, string>, retryAfterMs: number]>([
    ['seconds', { 'retry-after': '90' }, 90_000],
    [
      "a date, by the server's own clock",
      { date: 'Fri, 01 May 2026 08:00:00 GMT', 'retry-after': 'Fri, 01 May 2026 08:02:00 GMT' },
      120_000,
    ],
    [
      'a date that is over',
      { date: 'Fri, 01 May 2026 08:00:00 GMT', 'retry-after': 'Fri, 01 May 2026 07:00:00 GMT' },
      0,
    ],
    ['nothing', {}, 7_000],
    ['nonsense', { 'retry-after': 'soon' }, 7_000],
  ])('that is 202, with %s in Retry-After', async (_what, headers, retryAfterMs) => {
    const est = await scriptedEst(authority, { cacerts, simpleenroll: () => ({ status: 202, headers }) })
    expect(await asked(est, { retryAfterMs: 7_000 })).toMatchObject({ kind: 'pending', retryAfterMs })
  })
})

describe('before the request is sent', () => {
  it.each<[what: string, script: Script, error: unknown]>([
    [
      'there are no authorities',
      { cacerts: () => ({ status: 404 }) },
      withCode('ISSUER_REFUSED', saying('cacerts')),
    ],
    [
      'what is wanted cannot be read',
      { csrattrs: () => ({ headers: { 'content-type': 'application/csrattrs' }, body: 'AgEB' }) },
      withCode('PROTOCOL_ERROR', saying('CsrAttrs')),
    ],
    [
      'what is wanted is cut off',
      { csrattrs: () => ({ headers: { 'content-type': 'application/csrattrs' }, body: 'MEEGCSqGSIb3' }) },
      withCode('PROTOCOL_ERROR', saying('CsrAttrs')),
    ],
    [
      'what is wanted is of another type',
      { csrattrs: () => ({ headers: { 'content-type': 'application/json' }, body: '{}' }) },
      withCode('PROTOCOL_ERROR', saying('application/json')),
    ],
    ['the server is busy', { csrattrs: () => ({ status: 503 }) }, withCode('ISSUER_UNAVAILABLE')],
  ])('%s', async (_what, script, error) => {
    const est = await scriptedEst(authority, { cacerts, ...script })
    await expect(asked(est)).rejects.toEqual(error)
    expect(est.asked.map(({ method }) => method)).not.toContain('POST')
    await est.left()
  })

  it('a server without TLS 1.2 cannot be given a request that is tied to its connection', async () => {
    const csrattrs = (): Said => ({
      headers: { 'content-type': 'application/csrattrs' },
      body: Buffer.from('300b06092a864886f70d010907', 'hex').toString('base64'),
    })
    const est = await scriptedEst(authority, { cacerts, csrattrs }, { minVersion: 'TLSv1.3' })
    await expect(asked(est)).rejects.toEqual(withCode('PROTOCOL_ERROR'))
  })
})

describe('a server that', () => {
  it('says nothing is given up', async () => {
    const est = await scriptedEst(authority, { cacerts: () => undefined })
    await expect(asked(est, { answerTimeoutMs: 100 })).rejects.toEqual(
      withCode('NETWORK_TIMEOUT', { retryable: true, ...saying('cacerts within 100 ms') }),
    )
    await est.left()
  })

  it('takes too long as a whole is given up', async () => {
    const est = await scriptedEst(authority, { cacerts, simpleenroll: () => undefined })
    await expect(asked(est, { deadlineMs: 500 })).rejects.toEqual(
      withCode('NETWORK_TIMEOUT', saying('500 ms')),
    )
    await est.left()
  })

  it('closes the connection in the middle is asked again', async () => {
    const est = await scriptedEst(authority, {
      cacerts,
      simpleenroll: ({ socket }) => {
        socket.destroy()
        return undefined
      },
    })
    await expect(asked(est)).rejects.toMatchObject({ retryable: true })
  })

  it('is asked for something that is given up meanwhile is left alone', async () => {
    const stop = new AbortController()
    const est = await scriptedEst(authority, {
      cacerts,
      simpleenroll: () => {
        stop.abort(new Error('enough'))
        return undefined
      },
    })
    await expect(asked(est, {}, { signal: stop.signal })).rejects.toThrow('enough')
    await est.left()
    await expect(asked(est, {}, { signal: stop.signal })).rejects.toThrow('enough')
  })

  it('refuses the certificate of a device in TLS has refused it', async () => {
    const stranger = await TestAuthority.createRoot({ commonName: 'stranger' })
    const tls = { ca: stranger.certificate, rejectUnauthorized: true }
    const est = await scriptedEst(authority, { cacerts }, tls)
    await expect(asked(est)).rejects.toEqual(withCode('ISSUER_REFUSED', { retryable: false }))
  })
})
