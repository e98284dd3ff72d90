import { parseChain } from '../certificate/parse-chain.ts'
import { LeafkeeperError } from '../errors.ts'
import { nameOf } from '../transport/service.ts'
import type { EstResponse } from './est-exchange.ts'
import type { EstServer } from './est-options.ts'
import { printable } from './printable.ts'

/** What somebody does about a refusal, where the status says it (RFC 7030, 4.2.3; RFC 9110, 15). */
const meanings: Readonly<Record<number, string>> = {
  401: 'it does not take what the device has shown (a password or a certificate)',
  403: 'this device may not have the certificate',
  404: 'it has no such label or operation',
}

/** Statuses below 500 that pass. */
const passing: ReadonlySet<number> = new Set([408, 425, 429])
/** Not implemented, and HTTP version not supported: statuses from 500 that stay. */
const lasting: ReadonlySet<number> = new Set([501, 505])

const mostSaid = 500

/**
 * The Base64 in an answer with status 200. White space in it is passed over, and so is what any
 * Content-Transfer-Encoding says (RFC 8951, 3).
 *
 * @throws LeafkeeperError `PROTOCOL_ERROR` where it is of another type, or no Base64; and as {@link refusal}
 */
export function base64In(response: EstResponse, mediaType: string, server: EstServer): string {
  if (response.status !== 200) throw refusal(response, server)
  if (response.mediaType !== mediaType)
    throw notEst(response, server, `as ${JSON.stringify(response.mediaType)}; expected ${mediaType}`)
  const text = response.body.replace(/[ \t\r\n]/g, '')
  if (text === '' || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text))
    throw notEst(response, server, 'with something that is not Base64 (RFC 8951, 3.1)')
  return text
}

/** DER of each certificate in an answer with status 200. @throws LeafkeeperError as {@link base64In}, and `CERT_*` */
export function certificatesIn(response: EstResponse, server: EstServer): readonly Buffer[] {
  return parseChain(base64In(response, 'application/pkcs7-mime', server)).certificates
}

/**
 * When a request is to be repeated that was answered by 202 (RFC 7030, 4.2.3), in milliseconds. A date is counted from
 * the server's own, since the clocks may differ.
 *
 * @returns `undefined` where the server names no time
 */
export function pauseOf({ retryAfter = '', date }: EstResponse, now: number): number | undefined {
  if (/^\d+$/.test(retryAfter)) return Number(retryAfter) * 1_000
  const until = Date.parse(retryAfter)
  if (Number.isNaN(until)) return undefined
  const since = Date.parse(date ?? '')
  return Math.max(0, until - (Number.isNaN(since) ? now : since))
}

/** An answer that is no success, as an error: what passes is tried again, and what the server finds wrong stays so. */
export function refusal(response: EstResponse, { service, now }: EstServer): LeafkeeperError {
  const { operation, status, location } = response
  const passes = passing.has(status) || (status >= 500 && !lasting.has(status))
  const said = printable(response.body).slice(0, mostSaid)
  const meaning =
    location === undefined
      ? meanings[status]
      : `it names another place, ${printable(location).slice(0, mostSaid)}, which is not followed`
  const pause = passes ? pauseOf(response, now()) : undefined
  return new LeafkeeperError(passes ? 'ISSUER_UNAVAILABLE' : 'ISSUER_REFUSED', {
    reason: String(status),
    message: `${nameOf(service)} answered ${operation} with ${status}${meaning === undefined ? '' : `, ${meaning}`}: ${said === '' ? 'without a message' : JSON.stringify(said)}.`,
    ...(pause === undefined ? {} : { retryAfterMs: pause }),
  })
}

function notEst({ operation }: EstResponse, { service }: EstServer, what: string): LeafkeeperError {
  return new LeafkeeperError('PROTOCOL_ERROR', {
    message: `${nameOf(service)} answered ${operation} ${what}.`,
  })
}
