import { LeafkeeperError } from '../errors.ts'
import { Secret } from '../secret.ts'

/** The path attributes of RFC 7512, 2.3 that are text, by their name in the URI. */
const textAttributes = [
  'token',
  'manufacturer',
  'serial',
  'model',
  'library-manufacturer',
  'library-version',
  'library-description',
  'object',
  'type',
  'slot-description',
  'slot-manufacturer',
  'slot-id',
  'pin-source',
  'module-name',
  'module-path',
] as const

type TextAttribute = (typeof textAttributes)[number]

const queryAttributes: readonly string[] = ['pin-source', 'pin-value', 'module-name', 'module-path']

/**
 * A PKCS#11 URI (RFC 7512), decoded: every value is the text or the bytes it stands for, without percent-encoding.
 * Vendor-specific attributes are read over and not kept.
 */
export type Pkcs11Uri = Partial<Readonly<Record<TextAttribute, string>>> & {
  /** `CKA_ID`. */
  readonly id?: Uint8Array
  /** Read, but never printed. */
  readonly 'pin-value'?: Secret
}

/**
 * Reads a PKCS#11 URI.
 *
 * @example
 * ```ts
 * parsePkcs11Uri('pkcs11:token=my%20token;id=%01%02;type=private')
 * // { token: 'my token', id: Uint8Array [1, 2], type: 'private' }
 * ```
 * @throws LeafkeeperError `HSM_URI_INVALID`; the message does not repeat the URI, which may hold a PIN
 */
export function parsePkcs11Uri(text: string): Pkcs11Uri {
  const match = /^pkcs11:([^?#]*)(?:\?([^#]*))?$/i.exec(text)
  if (match === null) throw invalid('it must start with "pkcs11:" and have no fragment')
  const [, path = '', query = ''] = match
  const found = new Map<string, Buffer>()
  for (const part of path === '' ? [] : path.split(';')) readAttribute(part, false, found)
  for (const part of query === '' ? [] : query.split('&')) readAttribute(part, true, found)

  const texts = textAttributes.flatMap((name) => {
    const value = found.get(name)
    return value === undefined ? [] : [[name, toText(name, value)] as const]
  })
  const id = found.get('id')
  const pin = found.get('pin-value')
  return {
    ...Object.fromEntries(texts),
    ...(id === undefined ? {} : { id: Uint8Array.from(id) }),
    ...(pin === undefined ? {} : { 'pin-value': new Secret(toText('pin-value', pin)) }),
  }
}

/**
 * Writes a PKCS#11 URI. `id` is percent-encoded as a whole, as RFC 7512, 2.3 recommends; a PIN is left out.
 */
export function printPkcs11Uri(uri: Pkcs11Uri): string {
  const path: string[] = []
  const query: string[] = []
  for (const name of textAttributes) {
    const value = uri[name]
    if (value === undefined) continue
    const isQuery = queryAttributes.includes(name)
    ;(isQuery ? query : path).push(`${name}=${encode(value, isQuery ? queryMark : printedPathMark)}`)
    if (name === 'object' && uri.id !== undefined) path.push(printId(uri.id))
  }
  if (uri.id !== undefined && uri.object === undefined) {
    // Where `object` would have been.
    const type = path.findIndex((attribute) => /^(type|slot-)/.test(attribute))
    path.splice(type === -1 ? path.length : type, 0, printId(uri.id))
  }
  return `pkcs11:${path.join(';')}${query.length === 0 ? '' : `?${query.join('&')}`}`
}

// RFC 7512, 2.3: pk11-pchar and pk11-qchar, beyond the unreserved characters of RFC 3986.
const pathMark = /^[A-Za-z0-9\-._~:[\]@!$'()*+,=&]$/
// A path may hold a bare `&`, but libp11 0.4.12 refuses it, and its first refusal in a process finalises the module:
// it is read, and printed as %26.
const printedPathMark = /^[A-Za-z0-9\-._~:[\]@!$'()*+,=]$/
const queryMark = /^[A-Za-z0-9\-._~:[\]@!$'()*+,=/?|]$/

function printId(id: Uint8Array): string {
  return `id=${[...id].map(percent).join('')}`
}

function encode(value: string, mark: RegExp): string {
  return [...Buffer.from(value, 'utf8')]
    .map((byte) => {
      const character = String.fromCharCode(byte)
      return mark.test(character) ? character : percent(byte)
    })
    .join('')
}

function percent(byte: number): string {
  return `%${byte.toString(16).toUpperCase().padStart(2, '0')}`
}

function readAttribute(part: string, isQuery: boolean, found: Map<string, Buffer>): void {
  const equals = part.indexOf('=')
  const name = part.slice(0, equals)
  if (equals < 1 || !/^[A-Za-z0-9_-]+$/.test(name)) throw invalid('every attribute must be name=value')
  const known = name === 'id' || name === 'pin-value' || textAttributes.some((text) => text === name)
  if (known && queryAttributes.includes(name) !== isQuery) {
    throw invalid(`"${name}" stands on the wrong side of the question mark`)
  }
  // RFC 7512, 2.3: no attribute of the path twice; for the query we ask the same of those we know.
  if (found.has(name) && (known || !isQuery)) throw invalid(`"${name}" is there twice`)
  found.set(name, decode(part.slice(equals + 1), name, isQuery ? queryMark : pathMark))
}

function decode(value: string, name: string, mark: RegExp): Buffer {
  const bytes: number[] = []
  for (let at = 0; at < value.length; at += 1) {
    const character = value.charAt(at)
    if (character === '%') {
      const digits = value.slice(at + 1, at + 3)
      if (!/^[0-9A-Fa-f]{2}$/.test(digits)) throw invalid(`"${name}" has a % without two hexadecimal digits`)
      bytes.push(Number.parseInt(digits, 16))
      at += 2
    } else if (mark.test(character)) {
      bytes.push(character.charCodeAt(0))
    } else {
      throw invalid(`"${name}" has a character that must be percent-encoded`)
    }
  }
  return Buffer.from(bytes)
}

function toText(name: string, bytes: Buffer): string {
  try {
    return new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes)
  } catch {
    throw invalid(`"${name}" is not UTF-8`)
  }
}

function invalid(why: string): LeafkeeperError {
  return new LeafkeeperError('HSM_URI_INVALID', { message: `The PKCS#11 URI cannot be read: ${why}.` })
}
