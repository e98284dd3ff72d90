/** Requests over HTTP/1.1, right ones and spoiled ones, as the bytes that go over the wire. */
import type { Dice } from './dice.ts'
import { scratched, spoiled, strangeText, toText } from './strange.ts'

/** A request that a service takes, without its host. */
export interface HttpTemplate {
  readonly method: string
  readonly path: string
  readonly query: Readonly<Record<string, string>>
  readonly headers?: Readonly<Record<string, string>>
  /** JSON. */
  readonly body?: unknown
}

/** One request, as it is sent. */
export interface HttpInput {
  readonly method: string
  readonly bytes: Buffer
  /**
   * `one`: the server must answer, and goes on listening. `last`: it must answer, and may hang up then. `perhaps`: it
   * cannot know where the request ends, so that the connection ends with it.
   */
  readonly answers: 'one' | 'last' | 'perhaps'
  /** All it says, in lower case and decoded. */
  readonly text: string
}

interface Draft {
  method: string
  target: string
  version: string
  headers: [string, string][]
  body: string | undefined
  chunked: boolean
  answers: HttpInput['answers']
}

const methods = [
  'GET',
  'PUT',
  'POST',
  'PATCH',
  'DELETE',
  'HEAD',
  'OPTIONS',
  'TRACE',
  'PROPFIND',
  'LOCK',
  'M-SEARCH',
]

/** Makes one request of a template: most have one to three things wrong. */
export function httpInput(dice: Dice, host: string, template: HttpTemplate): HttpInput {
  const { method, path, query, headers = {}, body } = template
  const draft: Draft = {
    method,
    target: `${path}?${new URLSearchParams(query).toString()}`,
    version: 'HTTP/1.1',
    headers: [['host', host], ...Object.entries(headers)],
    body: body === undefined ? undefined : toText(body),
    chunked: false,
    answers: 'one',
  }
  if (body !== undefined) draft.headers.push(['content-type', 'application/json; charset=utf-8'])
  const faults = dice.pick([0, 1, 1, 1, 1, 2, 2, 3])
  for (let fault = 0; fault < faults; fault += 1) {
    switch (dice.number(12)) {
      case 0:
        draft.method = dice.pick(methods)
        break
      case 1:
      case 2:
        spoilPath(dice, draft)
        break
      case 3:
        spoilQuery(dice, draft)
        break
      case 4:
      case 5:
        spoilHeaders(dice, draft)
        break
      case 6:
        spoilBody(dice, draft)
        break
      default:
        if (body === undefined) spoilPath(dice, draft)
        else draft.body = toText(spoiled(dice, body))
    }
  }
  if (dice.chance(0.01)) spoilFraming(dice, draft)
  const input = render(dice, draft)
  // A server that cannot read a request does not know that its answer is to have no body.
  return input.method === 'HEAD' && input.answers === 'perhaps'
    ? render(dice, { ...draft, method: 'GET' })
    : input
}

function spoilPath(dice: Dice, draft: Draft): void {
  const [path = '', query = ''] = draft.target.split('?')
  const segments = path.split('/')
  const at = 1 + dice.number(Math.max(1, segments.length - 1))
  const odd = dice.chance(0.97) ? encoded(strangeText(dice)) : strangeText(dice)
  switch (dice.number(7)) {
    case 0:
      segments[at] = odd
      break
    case 1:
      segments.splice(at, 0, dice.pick(['..', '.', '', '%2e%2e', '..%2f..', odd]))
      break
    case 2:
      segments.splice(at, 1)
      break
    case 3:
      segments[at] = dice.chance(0.5) ? (segments[at] ?? '').toUpperCase() : (segments[at] ?? '') + odd
      break
    case 4:
      segments.push(odd)
      break
    case 5:
      segments.push('..', dice.pick(segments))
      break
    default:
      segments[at] = encoded(scratched(dice, segments[at] ?? ''))
  }
  draft.target = `${segments.join('/')}?${query}`
}

function spoilQuery(dice: Dice, draft: Draft): void {
  const [path = '', query = ''] = draft.target.split('?')
  const odd = encoded(strangeText(dice))
  const changed = dice.pick([
    '',
    'api-version=',
    'api-version=1999-01-01',
    `api-version=${odd}`,
    `${query}&api-version=1999-01-01`,
    `api-version=1999-01-01&${query}`,
    query.toUpperCase(),
    `${query}&${odd}=${odd}`,
    `${query}&top=${odd}`,
    `${query}&jobStatus=${odd}`,
    scratched(dice, query),
  ])
  draft.target = `${path}?${changed}`
}

const headerNames = [
  'authorization',
  'if-match',
  'x-ms-max-item-count',
  'x-ms-continuation',
  'content-type',
  'accept',
  'content-encoding',
  'cookie',
  'x-forwarded-for',
]

function spoilHeaders(dice: Dice, draft: Draft): void {
  const { headers } = draft
  const at = dice.number(headers.length)
  const [name, value] = headers[at] ?? ['', '']
  switch (dice.number(24)) {
    case 0:
      if (name === 'host') draft.answers = 'last'
      headers.splice(at, 1)
      break
    case 1:
      headers.push([name, value])
      // Two hosts are an error of the message itself.
      if (name === 'host') draft.answers = 'perhaps'
      break
    case 2:
      headers.push(['connection', dice.pick(['close', 'upgrade', 'keep-alive', strangeText(dice)])])
      headers.push(['upgrade', dice.pick(['websocket', 'h2c', 'mqtt'])])
      draft.answers = 'last'
      break
    case 3:
      headers.push(['expect', dice.pick(['100-continue', '200-ok'])])
      draft.answers = 'last'
      break
    default: {
      const odd = headerText(dice, dice.chance(0.5) ? scratched(dice, value) : strangeText(dice))
      if (dice.chance(0.6)) headers[at] = [name, odd]
      else headers.push([dice.pick(headerNames), odd])
    }
  }
}

/** Seldom what no header can hold: a server does not read on behind that. */
function headerText(dice: Dice, text: string): string {
  return dice.chance(0.03) ? text : bytewise(text).replace(/\p{Cc}/gu, '')
}

function spoilBody(dice: Dice, draft: Draft): void {
  switch (dice.number(40)) {
    case 0:
      draft.body = 'x'.repeat(600_000)
      draft.answers = 'last'
      break
    case 1:
      draft.body = `{"a":${'['.repeat(100_000)}`
      break
    case 2:
    case 3:
    case 4:
      draft.body = ''
      break
    case 5:
    case 6:
    case 7:
      draft.body = strangeText(dice)
      break
    case 8:
    case 9:
      draft.chunked = true
      break
    default:
      draft.body = scratched(dice, draft.body ?? '')
  }
}

/** What makes it impossible to say where the request ends. */
function spoilFraming(dice: Dice, draft: Draft): void {
  draft.answers = 'perhaps'
  switch (dice.number(6)) {
    case 0:
      draft.headers.push(['content-length', strangeText(dice)])
      break
    case 1:
      draft.headers.push(['transfer-encoding', dice.pick(['chunked', 'gzip', strangeText(dice)])])
      break
    case 2:
      draft.version = dice.pick(['HTTP/1.0', 'HTTP/2.0', 'HTTP/9', 'RTSP/1.0', '', strangeText(dice)])
      break
    case 3:
      draft.method = dice.pick(['CONNECT', 'PRI', 'get', 'BREW', '', strangeText(dice)])
      break
    case 4:
      draft.headers.push([strangeText(dice), 'x'])
      break
    default:
      draft.headers.push(['x-long', 'x'.repeat(20_000)])
  }
}

function render(dice: Dice, draft: Draft): HttpInput {
  const { method, target, version, headers, body, chunked } = draft
  const content = Buffer.from(body ?? '')
  const lines = headers.map(([name, value]): [string, string] => [name, bytewise(value)])
  if (chunked) lines.push(['transfer-encoding', 'chunked'])
  else if (body !== undefined || method === 'POST') lines.push(['content-length', String(content.length)])
  const head = [
    `${method} ${bytewise(target)} ${version}`,
    ...lines.map(([name, value]) => `${name}: ${value}`),
  ]
  const bytes = Buffer.concat([
    Buffer.from(`${head.join('\r\n')}\r\n\r\n`, 'latin1'),
    chunked ? inChunks(dice, content) : content,
  ])
  const isReadable =
    /^\/[!"$-~]*$/.test(target) && lines.every(([, value]) => /^[\t\x20-\x7e\x80-\xff]*$/.test(value))
  return {
    method,
    bytes,
    answers: isReadable ? draft.answers : 'perhaps',
    text: `${target} ${decoded(target)} ${body ?? ''}`.toLowerCase(),
  }
}

function inChunks(dice: Dice, content: Buffer): Buffer {
  const parts: Buffer[] = []
  for (let at = 0; at < content.length;) {
    const part = content.subarray(at, at + 1 + dice.number(content.length))
    parts.push(Buffer.from(`${part.length.toString(16)}\r\n`), part, Buffer.from('\r\n'))
    at += part.length
  }
  return Buffer.concat([...parts, Buffer.from('0\r\n\r\n')])
}

/** Each byte of UTF-8 as a character. */
function bytewise(text: string): string {
  return Buffer.from(text).toString('latin1')
}

function encoded(text: string): string {
  // Through a buffer, since what is no Unicode cannot be encoded.
  return encodeURIComponent(Buffer.from(text).toString())
}

function decoded(target: string): string {
  return target.replace(/(?:%[0-9a-f]{2})+/gi, (run) =>
    Buffer.from(run.replaceAll('%', ''), 'hex').toString(),
  )
}
