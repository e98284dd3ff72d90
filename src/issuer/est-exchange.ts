import { LeafkeeperError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { DeviceCredential } from '../transport/credential.ts'
import { httpOver, type HttpAnswer } from '../transport/http-over-stream.ts'
import { openSecureStream } from '../transport/open-secure-stream.ts'
import type { SecureStream } from '../transport/secure-stream.ts'
import { nameOf } from '../transport/service.ts'
import type { EstServer } from './est-options.ts'

/** What a device shows to an EST server: in TLS, and in HTTP. */
export interface EstAccess extends Pick<DeviceCredential, 'secureContext'> {
  /** The value of the header field `Authorization`. */
  readonly authorization?: Secret
}

/** One question to an EST server. */
export type EstQuestion =
  | { readonly operation: 'cacerts' | 'csrattrs' }
  | {
      readonly operation: 'simpleenroll' | 'simplereenroll'
      /**
       * Base64 of the DER, without line breaks, which nobody needs (RFC 8951, 3.1). A request that is tied to its
       * connection is made when that is there, from its tls-unique in Base64 (RFC 7030, 3.5).
       */
      readonly csr: string | ((tlsUnique: string) => Promise<string>)
    }

/** What came back, as it came. */
export interface EstResponse {
  readonly operation: EstQuestion['operation']
  readonly status: number
  /** Without its parameters, in lower case. */
  readonly mediaType: string
  readonly retryAfter: string | undefined
  readonly date: string | undefined
  readonly location: string | undefined
  /** Bytes as characters. */
  readonly body: string
}

/** The largest answer: ten certificates with large keys have some 20 KiB, in Base64. */
const mostBytes = 64 * 1024
const usualAnswerTimeoutMs = 30_000

/**
 * Asks one question, on a connection of its own, which is closed when this resolves or rejects.
 *
 * @throws LeafkeeperError as {@link openSecureStream} does, `NETWORK_TIMEOUT`, `NETWORK_UNREACHABLE`, `PROTOCOL_ERROR`,
 * `CERT_TOO_LARGE`; and the reason of the signal
 */
export async function askEst(
  question: EstQuestion,
  access: EstAccess,
  server: EstServer,
  signal: AbortSignal,
): Promise<EstResponse> {
  const isTied = 'csr' in question && typeof question.csr !== 'string'
  // TLS 1.3 has no tls-unique (RFC 8446, C.5).
  const options = isTied ? ({ ...server.network, maxVersion: 'TLSv1.2' } as const) : server.network
  const stream = await openSecureStream(server.service, access, options, signal)
  const abort = (): void => stream.discard()
  signal.addEventListener('abort', abort)
  const { operation } = question
  const answered = stream.expect(operation, server.network.answerTimeoutMs ?? usualAnswerTimeoutMs)
  try {
    const body = await stream.until(bodyOf(question, stream))
    return await stream.until(converse({ operation, body }, access, server, stream))
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    answered()
    signal.removeEventListener('abort', abort)
    await stream.close()
  }
}

async function bodyOf(question: EstQuestion, { socket }: SecureStream): Promise<string | undefined> {
  if (!('csr' in question)) return undefined
  if (typeof question.csr === 'string') return question.csr
  // In a full handshake the client's Finished is the first, and this one is full: no session is resumed (RFC 5929, 3.1).
  return question.csr(socket.getFinished()?.toString('base64') ?? '')
}

async function converse(
  question: { readonly operation: EstQuestion['operation']; readonly body: string | undefined },
  { authorization }: EstAccess,
  { path, host, service }: EstServer,
  stream: SecureStream,
): Promise<EstResponse> {
  const { operation, body } = question
  const answer = await httpOver(stream, {
    method: body === undefined ? 'GET' : 'POST',
    path: path + operation,
    host,
    headers: {
      ...(authorization === undefined ? {} : { authorization: authorization.reveal() }),
      ...(body === undefined ? {} : { 'content-type': 'application/pkcs10' }),
    },
    body,
    mostBytes,
    tooLarge: () => tooLarge(operation, nameOf(service)),
  })
  return responseOf(operation, answer)
}

function responseOf(operation: EstResponse['operation'], { status, headers, body }: HttpAnswer): EstResponse {
  return {
    operation,
    status,
    mediaType: (headers['content-type'] ?? '').split(';', 1)[0]?.trim().toLowerCase() ?? '',
    retryAfter: headers['retry-after'],
    date: headers.date,
    location: headers.location,
    body: body.toString('latin1'),
  }
}

function tooLarge(operation: string, server: string): LeafkeeperError {
  return new LeafkeeperError('CERT_TOO_LARGE', {
    message: `${server} answered ${operation} with more than ${mostBytes} bytes.`,
  })
}
