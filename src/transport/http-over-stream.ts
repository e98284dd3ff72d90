import { request as httpRequest, type IncomingHttpHeaders } from 'node:http'
import type { LeafkeeperError } from '../errors.ts'
import { classify } from './raw-cause.ts'
import type { SecureStream } from './secure-stream.ts'

/** One HTTP request. */
export interface HttpRequest {
  readonly method: 'GET' | 'POST' | 'PUT'
  readonly path: string
  /** The header field `Host`. */
  readonly host: string
  readonly headers?: Readonly<Record<string, string>>
  readonly body?: string | undefined
  /** The longest answer that is read, in bytes. */
  readonly mostBytes: number
  /** What a longer one is met with. */
  readonly tooLarge: () => LeafkeeperError
}

/** What came back, as it came. */
export interface HttpAnswer {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: Buffer
}

/** HTTP/1.1 on a connection that is open already: one request, after which the server closes it. */
export function httpOver(
  stream: SecureStream,
  { method, path, host, headers = {}, body, mostBytes, tooLarge }: HttpRequest,
): Promise<HttpAnswer> {
  return new Promise((resolve, reject) => {
    const outgoing = httpRequest({
      createConnection: () => stream.socket,
      method,
      path,
      setHost: false,
      headers: {
        host,
        connection: 'close',
        ...headers,
        ...(body === undefined ? {} : { 'content-length': Buffer.byteLength(body) }),
      },
    })
    const broken = (error: Error & { readonly code?: string }): void =>
      // What the parser refuses is not HTTP; all else is the connection's, which Node tells before the stream does.
      reject(error.code?.startsWith('HPE_') === true ? error : classify(error, stream.service, stream.socket))
    outgoing.on('error', broken)
    outgoing.on('response', (incoming) => {
      const pieces: Buffer[] = []
      let length = 0
      incoming.on('data', (piece: Buffer) => {
        length += piece.length
        pieces.push(piece)
        if (length <= mostBytes) return
        const error = tooLarge()
        reject(error)
        // Nobody waits for the rest.
        stream.fail(error)
      })
      incoming.on('error', broken)
      incoming.on('end', () =>
        resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: Buffer.concat(pieces) }),
      )
    })
    outgoing.end(body)
  })
}
