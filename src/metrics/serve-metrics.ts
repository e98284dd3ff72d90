import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { AgentMetrics } from './agent-metrics.ts'

/** Where metrics can be fetched. */
export interface MetricsServer {
  readonly url: string
  readonly port: number
  close(): Promise<void>
}

/**
 * Serves metrics at `http://127.0.0.1:PORT/metrics`, to this machine alone; nothing else is answered.
 *
 * @param port 0 takes any that is free
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where the port cannot be had
 */
export async function serveMetrics(
  metrics: AgentMetrics,
  { port }: { readonly port: number },
): Promise<MetricsServer> {
  const server = createServer((request, response) => void answer(metrics, request, response))
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause) =>
      reject(
        new LeafkeeperError('AGENT_CONFIG_INVALID', {
          message: `Metrics cannot be served on port ${port} of 127.0.0.1 (${messageOf(cause)}).`,
          cause,
        }),
      ),
    )
    server.listen(port, '127.0.0.1', resolve)
  })
  const { port: actual } = server.address() as AddressInfo
  let closed: Promise<void> | undefined
  return {
    url: `http://127.0.0.1:${actual}/metrics`,
    port: actual,
    close: () =>
      (closed ??= new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      })),
  }
}

async function answer(
  metrics: AgentMetrics,
  { method, url = '' }: IncomingMessage,
  response: ServerResponse,
): Promise<void> {
  const end = (status: number, body: string, headers: Readonly<Record<string, string>>): void => {
    response.writeHead(status, headers).end(body)
  }
  const plain = { 'content-type': 'text/plain; charset=utf-8' }
  if (url.split('?', 1)[0] !== '/metrics') {
    end(404, 'There is /metrics alone.\n', plain)
    return
  }
  if (method !== 'GET') {
    end(405, 'Expected GET.\n', { ...plain, allow: 'GET' })
    return
  }
  try {
    end(200, await metrics.text(), { 'content-type': metrics.contentType, 'cache-control': 'no-store' })
  } catch (error) {
    end(500, `${messageOf(error)}\n`, plain)
  }
}
