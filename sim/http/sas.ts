import { createHmac, timingSafeEqual } from 'node:crypto'

/** A `SharedAccessSignature` as it was sent. */
export interface SasToken {
  /** `sr` exactly as received: what was signed. */
  readonly signedResource: string
  /** `sr` decoded, in lower case, without the port that SDKs leave in host names. */
  readonly resource: string
  readonly signature: Buffer
  /** `se` exactly as received, in seconds since 1970. */
  readonly expiry: string
  /** `skn`: the policy whose key has signed; `undefined` for a device's own key. */
  readonly policyName: string | undefined
}

/** What a token is checked against. */
export interface SasRules {
  /** What is asked for, as in `hub-a.azure-devices.net/devices/device-1`; a token for what is above it will do. */
  readonly resource: string
  /** The keys, in Base64, any of which may have signed; none when there is no such policy. */
  readonly keysOf: (policyName: string | undefined) => readonly string[]
  /** Milliseconds since 1970. */
  readonly now: number
}

/**
 * Reads a token: `SharedAccessSignature sr=...&sig=...&se=...[&skn=...]`, in any order.
 *
 * @returns `undefined` when it is none
 */
export function parseSas(text: string): SasToken | undefined {
  const [, list] = /^\s*SharedAccessSignature\s+(\S+)\s*$/i.exec(text) ?? []
  if (list === undefined) return undefined
  const fields = new Map(
    list.split('&').map((field): [string, string] => {
      const equals = field.indexOf('=')
      return equals < 0 ? [field, ''] : [field.slice(0, equals).toLowerCase(), field.slice(equals + 1)]
    }),
  )
  const signedResource = fields.get('sr')
  const signature = decoded(fields.get('sig'))
  const expiry = fields.get('se')
  const resource = decoded(signedResource)
  if (signedResource === undefined || resource === undefined || signature === undefined) return undefined
  if (expiry === undefined || !/^\d{1,15}$/.test(expiry)) return undefined
  const policyName = decoded(fields.get('skn'))
  return {
    signedResource,
    resource: normalized(resource),
    signature: Buffer.from(signature, 'base64'),
    expiry,
    policyName: policyName === '' ? undefined : policyName,
  }
}

/**
 * Says why a token does not give access; `undefined` when it does. The reason is for whoever runs the service: a
 * caller is told 401 whatever it is.
 *
 * @example
 * ```ts
 * const refusal = sasRefusal(request.headers.authorization, {
 *   resource: 'hub-a.azure-devices.net',
 *   keysOf: (policy) => (policy === 'iothubowner' ? [primaryKey, secondaryKey] : []),
 *   now: Date.now(),
 * })
 * ```
 */
export function sasRefusal(text: string | undefined, rules: SasRules): string | undefined {
  const token = text === undefined ? undefined : parseSas(text)
  if (token === undefined) return 'Expected a SharedAccessSignature, got none that can be read.'
  if (Number(token.expiry) * 1000 <= rules.now) return 'The token has expired.'
  const resource = normalized(rules.resource)
  if (resource !== token.resource && !resource.startsWith(`${token.resource}/`)) {
    return `The token is for "${token.resource}", not for "${resource}".`
  }
  const keys = rules.keysOf(token.policyName)
  if (keys.length === 0) return `There is no policy "${token.policyName ?? ''}" that could have signed.`
  const stringToSign = `${token.signedResource}\n${token.expiry}`
  return keys.some((key) => sameBytes(signatureOf(stringToSign, key), token.signature))
    ? undefined
    : 'The signature is wrong.'
}

/**
 * Makes a token, as service SDKs and devices do.
 *
 * @param key - Base64
 * @param expiry - seconds since 1970
 */
export function createSas(resource: string, key: string, expiry: number, policyName?: string): string {
  const signedResource = encodeURIComponent(resource)
  const signature = signatureOf(`${signedResource}\n${expiry}`, key).toString('base64')
  const policy = policyName === undefined ? '' : `&skn=${encodeURIComponent(policyName)}`
  return `SharedAccessSignature sr=${signedResource}&sig=${encodeURIComponent(signature)}&se=${expiry}${policy}`
}

/** HMAC-SHA256 under a key in Base64. */
export function signatureOf(text: string, key: string): Buffer {
  return createHmac('sha256', Buffer.from(key, 'base64')).update(text).digest()
}

/** Compares in a time that does not tell where two values differ. */
export function sameBytes(one: Buffer, other: Buffer): boolean {
  return one.length === other.length && timingSafeEqual(one, other)
}

function normalized(resource: string): string {
  return resource
    .toLowerCase()
    .replace(/^([^/]+?):\d+(?=\/|$)/, '$1')
    .replace(/\/+$/, '')
}

function decoded(value: string | undefined): string | undefined {
  if (value === undefined) return undefined
  try {
    return decodeURIComponent(value)
  } catch {
    return undefined
  }
}
