/** Reads what a server says over HTTP/1.1, and takes nothing for granted. */
export interface HttpAnswer {
  readonly status: number
  /** By name in lower case. */
  readonly headers: ReadonlyMap<string, string>
  readonly body: string
}

/** Cuts what comes on one connection into answers. */
export class HttpAnswers {
  readonly list: HttpAnswer[] = []
  #rest = Buffer.alloc(0)
  /** The methods of the requests in their order, since an answer to HEAD has no body. */
  readonly #methods: readonly string[]

  constructor(methods: readonly string[]) {
    this.#methods = methods
  }

  /** An answer that has begun and not ended. */
  get rest(): string {
    return this.#rest.toString('latin1')
  }

  /** @throws Error when it is no HTTP */
  push(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    while (this.#take());
  }

  #take(): boolean {
    const end = this.#rest.indexOf('\r\n\r\n')
    if (end < 0) return false
    const [statusLine = '', ...lines] = this.#rest.subarray(0, end).toString('latin1').split('\r\n')
    const [, status = ''] = /^HTTP\/1\.1 ([1-5]\d\d) [ -~]*$/.exec(statusLine) ?? []
    if (status === '') throw new Error(`Expected a status line, got ${JSON.stringify(statusLine)}.`)
    const headers = new Map(lines.map(readHeader))
    const hasBody = !/^(?:1\d\d|204|304)$/.test(status) && this.#methods[this.list.length] !== 'HEAD'
    const body = hasBody ? readBody(this.#rest.subarray(end + 4), headers) : { text: '', length: 0 }
    if (body === undefined) return false
    this.#rest = this.#rest.subarray(end + 4 + body.length)
    // 100 is not yet the answer.
    if (Number(status) >= 200) this.list.push({ status: Number(status), headers, body: body.text })
    return true
  }
}

function readHeader(line: string): [string, string] {
  const [, name = '', value = ''] =
    /^([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\t -~\x80-\xff]*)$/.exec(line) ?? []
  if (name === '') throw new Error(`Expected a header, got ${JSON.stringify(line)}.`)
  return [name.toLowerCase(), value]
}

function readBody(
  bytes: Buffer,
  headers: ReadonlyMap<string, string>,
): { readonly text: string; readonly length: number } | undefined {
  if (headers.get('transfer-encoding')?.toLowerCase() === 'chunked') return readChunks(bytes)
  const length = Number(headers.get('content-length') ?? Number.NaN)
  if (!Number.isInteger(length)) throw new Error('Expected a content-length or chunks.')
  return bytes.length < length ? undefined : { text: bytes.subarray(0, length).toString(), length }
}

function readChunks(bytes: Buffer): { readonly text: string; readonly length: number } | undefined {
  const parts: Buffer[] = []
  for (let at = 0; ;) {
    const end = bytes.indexOf('\r\n', at)
    if (end < 0) return undefined
    const size = Number.parseInt(bytes.subarray(at, end).toString('latin1'), 16)
    if (Number.isNaN(size)) throw new Error('Expected the size of a chunk.')
    at = end + 2 + size + 2
    if (bytes.length < at) return undefined
    if (size === 0) return { text: Buffer.concat(parts).toString(), length: at }
    parts.push(bytes.subarray(end + 2, end + 2 + size))
  }
}
