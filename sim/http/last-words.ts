import { STATUS_CODES } from 'node:http'
import { ServiceError } from '../errors.ts'
import { written, type ErrorStyle } from './error-style.ts'

/** A refusal as it goes over a connection that ends with it, where no response can be written any more; HEAD has no body. */
export function lastWords(
  error: ServiceError,
  { errors, now, hasBody }: { readonly errors: ErrorStyle; readonly now: number; readonly hasBody: boolean },
): string {
  const { text, headers } = written(error, errors, now)
  const lines = Object.entries({
    ...headers,
    date: new Date(now).toUTCString(),
    connection: 'close',
    'content-length': String(Buffer.byteLength(text)),
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  return `HTTP/1.1 ${error.status} ${STATUS_CODES[error.status] ?? ''}\r\n${lines.join('')}\r\n${hasBody ? text : ''}`
}

/** What to say about a message that Node's parser cannot read. */
export function unreadable(code: string | undefined): ServiceError {
  switch (code) {
    case 'HPE_HEADER_OVERFLOW':
      return new ServiceError(431, 431000, 'The headers are too large.')
    case 'HPE_CHUNK_EXTENSIONS_OVERFLOW':
      return new ServiceError(413, 413001, 'The extensions of a chunk are too large.')
    default:
      return new ServiceError(400, 400000, `Bad request: this is no HTTP/1.1 (${code ?? 'unreadable'}).`)
  }
}
