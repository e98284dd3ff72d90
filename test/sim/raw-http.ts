/** HTTP without an SDK, for what no SDK would send. */
import { request } from 'node:https'
import type { SimulatedCloud } from 'leafkeeper-sim'
import type { Device } from './devices.ts'

export interface RawRequest {
  readonly host: string
  readonly method?: string
  /** Sent as it is. */
  readonly path: string
  readonly headers?: Readonly<Record<string, string>>
  /** Text is sent as it is, everything else as JSON. */
  readonly body?: unknown
  /** Whose certificates are shown. */
  readonly device?: Device
}

export interface RawAnswer {
  readonly status: number
  readonly headers: Readonly<Record<string, string | string[] | undefined>>
  readonly text: string
  /** The body, when it is JSON. */
  readonly json: Readonly<Record<string, unknown>>
}

/** Sends one request on a connection of its own. */
export async function rawHttp(
  cloud: Pick<SimulatedCloud, 'port' | 'trustedAuthorities'>,
  options: RawRequest,
): Promise<RawAnswer> {
  const { host, path, method = 'GET', headers = {}, body, device } = options
  const text = body === undefined || typeof body === 'string' ? body : JSON.stringify(body)
  return new Promise((resolve, reject) => {
    const sent = request(
      {
        host: '127.0.0.1',
        port: cloud.port,
        servername: 'localhost',
        ca: cloud.trustedAuthorities,
        agent: false,
        path,
        method,
        headers: {
          host,
          ...(text === undefined
            ? {}
            : { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }),
          ...headers,
        },
        ...(device === undefined ? {} : { cert: device.chain, key: device.key }),
      },
      (response) => {
        const chunks: Buffer[] = []
        response.on('data', (chunk: Buffer) => chunks.push(chunk))
        response.on('end', () => {
          const received = Buffer.concat(chunks).toString()
          resolve({
            status: response.statusCode ?? 0,
            headers: response.headers,
            text: received,
            json: received.startsWith('{') ? (JSON.parse(received) as Record<string, unknown>) : {},
          })
        })
      },
    )
    sent.on('error', reject)
    sent.end(text)
  })
}
