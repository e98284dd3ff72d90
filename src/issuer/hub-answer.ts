import { pemOfDerChain } from '../certificate/der-chain.ts'
import type { CredentialAnswer } from '../credential-channel.ts'
import { LeafkeeperError } from '../errors.ts'
import { printable } from './printable.ts'

/** What a hub has said about a request for a certificate. */
export type HubAnswer =
  /** 202: it is worked on. */
  | { readonly kind: 'accepted' }
  | { readonly kind: 'issued'; readonly chain: string }
  /** 409: another request, or this very one, is worked on already. `undefined` where the hub does not say which. */
  | { readonly kind: 'busy'; readonly requestId: string | undefined; readonly error: LeafkeeperError }
  | { readonly kind: 'refused'; readonly error: LeafkeeperError }

type Json = Readonly<Record<string, unknown>>

/** Pauses that the preview's own SDKs make where the hub names none, in milliseconds, by error code. */
const usualPauses: Readonly<Record<number, number>> = {
  429002: 1_000,
  429003: 1_000,
  500001: 5 * 60_000,
  503001: 5_000,
}

/** Conflicts, throttling and failures of the hub pass; what it finds wrong with the request stays wrong. */
const passing: ReadonlySet<number> = new Set([408, 409, 412, 429])
/** CredentialManagementPreconditionFailed: the hub is not set up to issue certificates. */
const notSetUp = 412005

const mostSaid = 500

/** Reads an answer: a 200 with Base64 of the DER of each certificate, or an error with its code. Never throws. */
export function readHubAnswer({ status, body }: CredentialAnswer): HubAnswer {
  const json = readObject(body)
  if (status === 202) return { kind: 'accepted' }
  if (status === 200) {
    try {
      return { kind: 'issued', chain: pemOfDerChain(json?.['certificates']) }
    } catch (error) {
      return { kind: 'refused', error: asError(error) }
    }
  }
  const error = errorOf(status, json ?? {})
  if (status !== 409) return { kind: 'refused', error }
  const { requestId } = infoIn(json ?? {})
  return { kind: 'busy', requestId: typeof requestId === 'string' ? requestId : undefined, error }
}

function errorOf(status: number, json: Json): LeafkeeperError {
  const code = typeof json['errorCode'] === 'number' ? json['errorCode'] : undefined
  const said = [json['message'], infoIn(json)['credentialError'], infoIn(json)['credentialMessage']]
    .filter((text) => typeof text === 'string')
    .map((text) => printable(text).slice(0, mostSaid))
    .filter((text) => text !== '')
  const tracking =
    typeof json['trackingId'] === 'string'
      ? `, tracking id ${printable(json['trackingId']).slice(0, mostSaid)}`
      : ''
  const passes = (passing.has(status) || status >= 500) && code !== notSetUp
  const pause = passes ? pauseOf(code, json['retryAfter']) : undefined
  return new LeafkeeperError(passes ? 'ISSUER_UNAVAILABLE' : 'ISSUER_REFUSED', {
    reason: String(code ?? status),
    message: `The hub answered a request for a certificate with ${code ?? status}${tracking}: ${said.length === 0 ? 'without a message' : said.map((text) => JSON.stringify(text)).join(', ')}.`,
    ...(pause === undefined ? {} : { retryAfterMs: pause }),
  })
}

/** @param seconds what the hub asks for, if it does */
function pauseOf(code: number | undefined, seconds: unknown): number | undefined {
  if (typeof seconds === 'number' && Number.isFinite(seconds) && seconds >= 0) return seconds * 1_000
  return code === undefined ? undefined : usualPauses[code]
}

function infoIn({ info }: { readonly info?: unknown }): Json {
  return isObject(info) ? info : {}
}

function readObject(body: Buffer): Json | undefined {
  try {
    const json: unknown = JSON.parse(body.toString('utf8'))
    return isObject(json) ? json : undefined
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function asError(error: unknown): LeafkeeperError {
  if (error instanceof LeafkeeperError) return error
  return new LeafkeeperError('CERT_UNREADABLE', { cause: error })
}
