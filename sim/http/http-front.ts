import { createServer, type IncomingMessage, type Server } from 'node:http'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { createWebSocketStream, WebSocketServer } from 'ws'

/** A service that speaks HTTP: a Hono app, or anything else that answers a `Request`. */
export interface HttpApp {
  readonly fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>
}

/** Whether an app answers for a host: lower case, without a port. */
export type HostPredicate = (host: string) => boolean

/** Takes over a WebSocket that carries MQTT. */
export type MqttOverWebSocket = (peer: TLSSocket, stream: Duplex) => void

const idleConnection = 120_000
// The longest call waits for a direct method: five minutes to connect and five to answer.
const longestCall = 660_000
const largestMessage = 1024 * 1024

/**
 * HTTP/1.1 for all services behind one port: finds the app by the Host header, and by the TLS server name where
 * that leads nowhere, as for clients that were only given another address.
 *
 * @example
 * ```ts
 * front.mount((host) => host === hub.hostName, hubServiceApp(hub))
 * ```
 */
export class HttpFront {
  readonly #server: Server
  readonly #webSockets: WebSocketServer
  readonly #mounted: { readonly answersFor: HostPredicate; readonly app: HttpApp }[] = []

  constructor(takeOver: MqttOverWebSocket) {
    const listener = getRequestListener((request, env) => this.#dispatch(request, env as HttpBindings), {
      overrideGlobalObjects: false,
    })
    this.#server = createServer((request, response) => void listener(request, response))
    this.#server.keepAliveTimeout = idleConnection
    this.#server.setTimeout(longestCall)
    this.#webSockets = new WebSocketServer({
      noServer: true,
      clientTracking: false,
      perMessageDeflate: false,
      maxPayload: largestMessage,
      handleProtocols: (offered) => (offered.has('mqtt') ? 'mqtt' : false),
    })
    this.#server.on('upgrade', (request, socket, head) => {
      this.#upgrade(request, socket, head, takeOver)
    })
  }

  /** Answers for hosts by an app. The first one mounted wins. */
  mount(answersFor: HostPredicate, app: HttpApp): void {
    this.#mounted.push({ answersFor, app })
  }

  /** Speaks HTTP on a socket whose TLS handshake is done. */
  handle(socket: TLSSocket): void {
    this.#server.emit('connection', socket)
  }

  async #dispatch(request: Request, env: HttpBindings): Promise<Response> {
    const { socket, headers } = env.incoming
    const hosts = [headers.host, socket instanceof TLSSocket ? socket.servername : undefined]
    for (const host of hosts) {
      if (typeof host !== 'string') continue
      const name = hostNameIn(host)
      const found = this.#mounted.find(({ answersFor }) => answersFor(name))
      if (found !== undefined) return found.app.fetch(request, env)
    }
    return Response.json(
      { Message: `There is no service "${headers.host ?? ''}" in this cloud.` },
      { status: 404 },
    )
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, takeOver: MqttOverWebSocket): void {
    const [path] = (request.url ?? '').split('?')
    const wanted = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
    if (path?.toLowerCase() !== '/$iothub/websocket' || !wanted.includes('mqtt')) {
      socket.end('HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n')
      return
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      if (socket instanceof TLSSocket) takeOver(socket, createWebSocketStream(webSocket))
    })
  }
}

function hostNameIn(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
}
