import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'
import { TLSSocket } from 'node:tls'
import { getRequestListener, type HttpBindings } from '@hono/node-server'
import { createWebSocketStream, WebSocketServer } from 'ws'
import { ServiceError } from '../errors.ts'
import { hubErrors, refusal, type ErrorStyle } from './error-style.ts'
import { lastWords, unreadable } from './last-words.ts'
import { Unanswered } from './unanswered.ts'

/** A service that speaks HTTP: a Hono app, or anything else that answers a `Request`. */
export interface HttpApp {
  readonly fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>
}

/** Whether an app answers for a host (lower case, without a port), or for a path of whatever host. */
export type HostPredicate = (host: string, path: string) => boolean

/** Takes over a WebSocket that carries MQTT. */
export type MqttOverWebSocket = (peer: TLSSocket, stream: Duplex) => void

/** An app, and for what is refused before it has its turn how it puts refusals. */
export interface MountedApp {
  readonly answersFor: HostPredicate
  readonly app: HttpApp
  readonly errors: ErrorStyle
}

const idleConnection = 120_000
// The longest call waits for a direct method: five minutes to connect and five to answer.
const longestCall = 660_000
// How long a client that was told its last may take to hear it.
const farewell = 2000
const largestMessage = 1024 * 1024

/**
 * HTTP/1.1 for all services behind one port: finds the app by the Host header, and by the TLS server name where
 * that leads nowhere, as for clients that were only given another address.
 *
 * @example
 * ```ts
 * front.mount({ answersFor: (host) => host === hub.hostName, app: hubServiceApp(hub), errors: hubErrors })
 * ```
 */
export class HttpFront {
  readonly #server: Server
  readonly #webSockets: WebSocketServer
  readonly #mounted: MountedApp[] = []
  readonly #unanswered = new Unanswered()
  readonly #ending = new WeakSet<Duplex>()
  readonly #now: () => number

  /** @param now - milliseconds since 1970 */
  constructor(takeOver: MqttOverWebSocket, now: () => number) {
    this.#now = now
    // A request without a host is refused here, in the words of a service.
    this.#server = createServer({ requireHostHeader: false }, (request, response) => {
      this.#serve(request, response)
    })
    this.#server.keepAliveTimeout = idleConnection
    this.#server.setTimeout(idleConnection)
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
    this.#server.on('checkContinue', (request: IncomingMessage, response: ServerResponse) => {
      // Written while an earlier answer is under way, Node puts it behind the head of the answer it belongs before.
      void this.#unanswered.settled(request.socket).then(() => {
        response.writeContinue()
        this.#serve(request, response)
      })
    })
    this.#server.on('checkExpectation', (request: IncomingMessage, response: ServerResponse) => {
      this.#answer(request, response, () => {
        throw new ServiceError(417, 417000, 'No expectation can be met but 100-continue.')
      })
    })
    this.#server.on('connect', (request, socket) => {
      void this.#hangUp(socket, new ServiceError(405, 405000, 'CONNECT is for proxies.'), request)
    })
    this.#server.on('clientError', (error: NodeJS.ErrnoException, socket) => {
      if (error.code === 'ECONNRESET' || !socket.writable) socket.destroy()
      else void this.#hangUp(socket, unreadable(error.code))
    })
  }

  /** Answers for hosts by an app. The first one mounted wins. */
  mount(mounted: MountedApp): void {
    this.#mounted.push(mounted)
  }

  /** Speaks HTTP on a socket whose TLS handshake is done. */
  handle(socket: TLSSocket): void {
    this.#server.emit('connection', socket)
  }

  #serve(request: IncomingMessage, response: ServerResponse): void {
    this.#answer(request, response, (asked, env) => this.#dispatch(asked, env))
  }

  #answer(
    request: IncomingMessage,
    response: ServerResponse,
    fetch: (request: Request, env: HttpBindings) => Response | Promise<Response>,
  ): void {
    this.#unanswered.add(request, response)
    request.socket.setTimeout(longestCall)
    // One for each request, since its error handler is not told which one it was.
    const listener = getRequestListener((asked, env) => fetch(asked, env as HttpBindings), {
      overrideGlobalObjects: false,
      errorHandler: (error) => this.#refusal(request, error),
    })
    // Not at once: what makes a request unreadable may stand behind its head, and is found out first.
    setImmediate(() => {
      if (request.complete || !this.#ending.has(request.socket)) void listener(request, response)
    })
  }

  #dispatch(request: Request, env: HttpBindings): Response | Promise<Response> {
    // Some hosts that look like one, such as 999, make no URL.
    if (!URL.canParse(request.url)) {
      throw new ServiceError(400, 400000, 'Bad request: host and path make no URL.')
    }
    const found = this.#find(env.incoming)
    if (found !== undefined) return found.app.fetch(request, env)
    const host = env.incoming.headers.host ?? ''
    throw new ServiceError(404, 404000, `There is no service "${host}" in this cloud.`)
  }

  #find({ headers, socket, url = '' }: IncomingMessage): MountedApp | undefined {
    const hosts = [headers.host, serverNameOf(socket)].map((host) => hostNameIn(host ?? ''))
    for (const host of hosts) {
      const found = this.#mounted.find(({ answersFor }) => answersFor(host, url))
      if (found !== undefined) return found
    }
    return undefined
  }

  /** For what no app has answered: a path or a host that cannot be one, or a defect. */
  #refusal(request: IncomingMessage, thrown: unknown): Response {
    const error = thrown instanceof ServiceError ? thrown : asRefusal(thrown)
    return refusal(error, this.#find(request)?.errors ?? hubErrors, this.#now())
  }

  #upgrade(request: IncomingMessage, socket: Duplex, head: Buffer, takeOver: MqttOverWebSocket): void {
    const [path] = (request.url ?? '').split('?')
    const wanted = (request.headers['sec-websocket-protocol'] ?? '').split(',').map((name) => name.trim())
    if (path?.toLowerCase() !== '/$iothub/websocket' || !wanted.includes('mqtt')) {
      const expected = 'a WebSocket with the protocol mqtt on /$iothub/websocket'
      void this.#hangUp(socket, new ServiceError(400, 400000, `Expected ${expected}.`), request)
      return
    }
    this.#webSockets.handleUpgrade(request, socket, head, (webSocket) => {
      if (socket instanceof TLSSocket) takeOver(socket, createWebSocketStream(webSocket))
    })
  }

  /** Ends a connection with a refusal, when what was asked on it before is answered. */
  async #hangUp(socket: Duplex, error: ServiceError, request?: IncomingMessage): Promise<void> {
    // Whatever comes after what cannot be read cannot be read either.
    if (this.#ending.has(socket)) return
    this.#ending.add(socket)
    await this.#unanswered.settled(socket)
    const found =
      request === undefined
        ? this.#mounted.find(({ answersFor }) => answersFor(serverNameOf(socket) ?? '', ''))
        : this.#find(request)
    const hasBody = request?.method !== 'HEAD'
    socket.end(lastWords(error, { errors: found?.errors ?? hubErrors, now: this.#now(), hasBody }))
    // Closing at once, with something unread, would take the answer away from the client.
    socket.resume()
    if (socket instanceof TLSSocket) socket.setTimeout(farewell, () => socket.destroy())
  }
}

function asRefusal(thrown: unknown): ServiceError {
  const reason = thrown instanceof Error ? thrown.message : String(thrown)
  return thrown instanceof Error && thrown.name === 'RequestError'
    ? new ServiceError(400, 400000, `Bad request: ${reason}.`)
    : new ServiceError(500, 500001, `Internal error: ${reason}`)
}

function serverNameOf(socket: unknown): string | undefined {
  if (!(socket instanceof TLSSocket)) return undefined
  return typeof socket.servername === 'string' ? socket.servername.toLowerCase() : undefined
}

function hostNameIn(host: string): string {
  return host.toLowerCase().replace(/:\d*$/, '').replace(/\.$/, '')
}
