import { describe, expect, it } from 'vitest'
import { readHubAnswer, type HubAnswer } from '../../src/issuer/hub-answer.ts'

function answered(status: number, body: unknown): HubAnswer {
  const text = typeof body === 'string' ? body : JSON.stringify(body)
  return readHubAnswer({ status, requestId: 'rid-1', body: Buffer.from(text) })
}

const errorWith = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })

/** Errors with their codes, as the scenarios of the preview's guide have them. */
describe('what the hub finds wrong ends the roll, and is told', () => {
  it.each<[scenario: string, errorCode: number, message: string, info: object | null]>([
    ['001 Empty Request Body', 400004, 'Issue certificate request payload is missing.', null],
    ['002 Malformed JSON', 400006, 'cannot decode json format', null],
    ['003 JSON Array Instead of Object', 400004, "'id' field does not match", null],
    ['004 Empty CSR', 400004, "'csr' field is invalid or missing.", null],
    ['005 CSR Exceeds 8KB', 400004, "'csr' field exceeds maximum allowed length.", null],
    ['006 Invalid Base64', 400004, "'csr' field is not valid base64.", null],
    ['007 Device ID Mismatch', 400004, "'id' field does not match the authenticated device ID.", null],
    ['008 Empty Device ID', 400004, "'id' field is invalid or missing.", null],
    ['009 Unknown Field', 400004, 'payload contains an unknown field.', null],
    ['010 Invalid Format', 400004, "'replace' field has an invalid format.", null],
    [
      '012 Malformed PKCS#10',
      400037,
      'Unable to complete the certificate request',
      { credentialError: '400000', credentialMessage: 'CSR did not pass verification' },
    ],
    ['a rejected request', 400040, 'CredentialOperationFailed', { credentialError: 'PolicyDenied' }],
    ['a version the hub does not have', 400001, 'InvalidProtocolVersion', null],
    ['a tier without the preview', 403010, 'OperationNotAvailableInCurrentTier', null],
    ['an unknown device', 404001, 'DeviceNotFound', null],
    ['a hub that is not set up', 412005, 'CredentialManagementPreconditionFailed', null],
  ])('%s', (_scenario, errorCode, message, info) => {
    const trackingId = '4A745D4B29A44D82BD5FE49D7F974C72'
    const answer = answered(Math.trunc(errorCode / 1000), { errorCode, message, trackingId, info })
    expect(answer).toEqual({
      kind: 'refused',
      error: errorWith('ISSUER_REFUSED', { retryable: false, reason: String(errorCode) }),
    })
    if (answer.kind !== 'refused') return
    for (const said of [message, trackingId, ...Object.values(info ?? {}).map(String)])
      expect(answer.error.message).toContain(said)
  })
})

describe('what passes is tried again', () => {
  it.each<[what: string, errorCode: number, retryAfter: number | undefined, pauseMs: number | undefined]>([
    ['011 Non-existent Request ID', 412001, undefined, undefined],
    ['throttling, with a pause', 429002, 30, 30_000],
    ['throttling, without one', 429002, undefined, 1_000],
    ['a full backlog', 429003, undefined, 1_000],
    ['a failure of the hub', 500001, undefined, 300_000],
    ['an unavailable hub', 503001, undefined, 5_000],
    ['a code that nobody knows', 500999, undefined, undefined],
    ['a pause that is none', 429002, -1, 1_000],
  ])('%s', (_what, errorCode, retryAfter, pauseMs) => {
    expect(answered(Math.trunc(errorCode / 1000), { errorCode, message: 'no', retryAfter })).toEqual({
      kind: 'refused',
      error: errorWith('ISSUER_UNAVAILABLE', { retryable: true, retryAfterMs: pauseMs }),
    })
  })
})

it.each([
  ['023 and 024, another request', 409004, { requestId: '304937152' }, '304937152'],
  ['the same request', 409005, { requestId: 'rid-1' }, 'rid-1'],
  ['nobody knows which', 409004, null, undefined],
])('says which request is worked on: %s', (_what, errorCode, info, requestId) => {
  expect(answered(409, { errorCode, message: 'active', info })).toEqual({
    kind: 'busy',
    requestId,
    error: errorWith('ISSUER_UNAVAILABLE', { reason: String(errorCode) }),
  })
})

it('015: 202, then 200 with Base64 of each certificate', () => {
  expect(answered(202, { correlationId: 'c', operationExpires: '2026-01-31T12:52:20.565Z' })).toEqual({
    kind: 'accepted',
  })
  expect(answered(200, { correlationId: 'c', certificates: ['AQID', 'BAUG'] })).toEqual({
    kind: 'issued',
    chain: ['AQID', 'BAUG']
      .map((der) => `-----BEGIN CERTIFICATE-----\n${der}\n-----END CERTIFICATE-----\n`)
      .join(''),
  })
})

it.each<[string, number, unknown]>([
  ['no JSON', 200, '{'],
  ['no certificates', 200, { correlationId: 'c' }],
  ['an empty list', 200, { certificates: [] }],
  ['something else than text', 200, { certificates: [7] }],
  ['something else than Base64', 200, { certificates: ['-----BEGIN CERTIFICATE-----'] }],
])('takes a 200 with %s for a certificate that cannot be read', (_what, status, body) => {
  expect(answered(status, body)).toEqual({ kind: 'refused', error: errorWith('CERT_UNREADABLE') })
})

it.each([
  [400, 'ISSUER_REFUSED'],
  [500, 'ISSUER_UNAVAILABLE'],
])('goes by the status %i where the body says nothing', (status, code) => {
  expect(answered(status, '')).toEqual({
    kind: 'refused',
    error: errorWith(code, {
      reason: String(status),
      message: expect.stringContaining('without a message') as string,
    }),
  })
})
