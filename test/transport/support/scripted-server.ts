import { once } from 'node:events'
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions, type TLSSocket } from 'node:tls'
import { connack, packetReader, publish, puback, suback, unsuback, type WirePacket } from './mqtt-wire.ts'

/** One connection, as the script sees it. */
export interface Session {
  readonly socket: TLSSocket
  /** What the client has sent so far. */
  readonly packets: WirePacket[]
  /** Resolves when the connection is over, however it ended. */
  readonly closed: Promise<void>
  send(bytes: Buffer): void
  /** Publishes to the client, QoS 0. */
  publish(topic: string, payload: string | Buffer): void
}

/** What the server does about a packet; `true` when the script has answered it. */
export type Script = (packet: WirePacket, session: Session) => boolean

export interface ScriptedServer extends AsyncDisposable {
  readonly port: number
  readonly sessions: Session[]
  /** Resolves with the session of the next accepted connection. */
  nextSession(): Promise<Session>
}

/** A server that answers MQTT as a well-behaved one would, except where the script does otherwise. */
export async function scriptedServer(tls: TlsOptions, script: Script = () => false): Promise<ScriptedServer> {
  const sessions: Session[] = []
  const waiting: ((session: Session) => void)[] = []
  const server = createTlsServer({ requestCert: true, rejectUnauthorized: false, ...tls }, (socket) => {
    socket.setNoDelay(true)
    socket.on('error', () => {
      // The script breaks connections on purpose.
    })
    const session: Session = {
      socket,
      packets: [],
      closed: new Promise((resolve) => socket.once('close', () => resolve())),
      send: (bytes) => void socket.write(bytes),
      publish: (topic, payload) => void socket.write(publish(topic, payload)),
    }
    sessions.push(session)
    waiting.shift()?.(session)
    socket.on(
      'data',
      packetReader((packet) => {
        session.packets.push(packet)
        if (!script(packet, session)) behave(packet, session)
      }),
    )
  })
  const sockets = trackSockets(server)
  return {
    port: await listen(server),
    sessions,
    nextSession: () => new Promise((resolve) => waiting.push(resolve)),
    [Symbol.asyncDispose]: () => stop(server, sockets),
  }
}

/** A server that speaks no TLS: it gets the plain socket. */
export async function plainServer(
  onConnection: (socket: Socket) => void,
): Promise<AsyncDisposable & { readonly port: number }> {
  const server = createTcpServer((socket) => {
    socket.on('error', () => {
      // The script breaks connections on purpose.
    })
    onConnection(socket)
  })
  const sockets = trackSockets(server)
  return { port: await listen(server), [Symbol.asyncDispose]: () => stop(server, sockets) }
}

function behave(packet: WirePacket, session: Session): void {
  switch (packet.cmd) {
    case 'connect':
      return session.send(connack(0))
    case 'subscribe':
      return session.send(suback(packet.id))
    case 'unsubscribe':
      return session.send(unsuback(packet.id))
    case 'publish':
      return packet.id === undefined ? undefined : session.send(puback(packet.id))
    case 'disconnect':
    case 'pingreq':
    case 'puback':
      return undefined
  }
}

function trackSockets(server: Server): Set<Socket> {
  const sockets = new Set<Socket>()
  server.on('connection', (socket: Socket) => {
    sockets.add(socket)
    socket.once('close', () => sockets.delete(socket))
  })
  return sockets
}

async function listen(server: Server): Promise<number> {
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

async function stop(server: Server, sockets: ReadonlySet<Socket>): Promise<void> {
  const closed = once(server, 'close')
  server.close()
  for (const socket of sockets) socket.destroy()
  await closed
}
