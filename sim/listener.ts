import { constants } from 'node:crypto'
import { once } from 'node:events'
import type { AddressInfo, Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import type { ServerCredential } from './pki/server-certificate.ts'

/** The address that everything listens on unless told otherwise. */
export const loopback = '127.0.0.1'

/** Where a listener listens. */
export interface ListenerAddress {
  /** Default 127.0.0.1. */
  readonly host?: string
  /** Default: a free one. */
  readonly port?: number
  /** Whether the next connection is ended before its handshake. Default: never. */
  readonly refuses?: () => boolean
  /** Told of every connection that has ended, with how many are left. */
  readonly ended?: (open: number) => void
}

/**
 * A TLS listener of a cloud. It asks every peer for a certificate and lets everyone in: whether the
 * certificate will do is for the services to say, since a TLS alert tells a device too little.
 */
export class TlsListener {
  readonly port: number
  readonly #server: Server
  readonly #host: string
  readonly #sockets: Set<Socket>

  private constructor(server: Server, host: string, port: number, sockets: Set<Socket>) {
    this.#server = server
    this.#host = host
    this.port = port
    this.#sockets = sockets
  }

  /** Listens on the loopback address. @throws Error that names the address when it cannot be had */
  static async open(
    credential: ServerCredential,
    onSecure: (socket: TLSSocket) => void,
    { host = loopback, port = 0, refuses = () => false, ended = () => undefined }: ListenerAddress = {},
  ): Promise<TlsListener> {
    const sockets = new Set<Socket>()
    const server = createServer(
      {
        key: credential.key,
        cert: credential.certificate,
        requestCert: true,
        rejectUnauthorized: false,
        minVersion: 'TLSv1.2',
        // Answers are small and waited for: without it each waits for the last one's TCP acknowledgement.
        noDelay: true,
        // A resumed session would bring the leaf without its chain, and without a proof that the key is still there.
        secureOptions: constants.SSL_OP_NO_TICKET,
      },
      onSecure,
    )
    server.on('connection', (socket: Socket) => {
      sockets.add(socket)
      socket.once('close', () => {
        sockets.delete(socket)
        ended(sockets.size)
      })
      if (refuses()) socket.destroy()
    })
    server.listen(port, host)
    await once(server, 'listening').catch((cause: unknown) => {
      throw new Error(`Cannot listen on ${host}:${port}: ${String(cause)}${adviceOn(cause, host)}`, { cause })
    })
    return new TlsListener(server, host, (server.address() as AddressInfo).port, sockets)
  }

  /** How many connections are open, those in their handshake among them. */
  get openConnections(): number {
    return this.#sockets.size
  }

  /** Closes the port and every connection: connections are refused until `resume`. */
  async pause(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.dropConnections()
    await closed
  }

  /** Listens again, on the same port. */
  async resume(): Promise<void> {
    if (this.#server.listening) return
    this.#server.listen(this.port, this.#host)
    await once(this.#server, 'listening')
  }

  /** Cuts every connection, also those still in their handshake. */
  dropConnections(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** What to do about an address that cannot be had. */
function adviceOn(error: unknown, host: string): string {
  switch ((error as NodeJS.ErrnoException | undefined)?.code) {
    case 'EACCES':
      return '. Ports below 1024 are for root: run it as root, or allow them by `sysctl net.ipv4.ip_unprivileged_port_start=443`.'
    case 'EADDRINUSE':
      return '. Another process listens there: end it, or choose another port or loopback address.'
    case 'EADDRNOTAVAIL':
      return `. This machine has no such address: on macOS \`ifconfig lo0 alias ${host}\` adds it.`
    default:
      return ''
  }
}
