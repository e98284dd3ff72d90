import tls, { type ConnectionOptions, type TLSSocket } from 'node:tls'
import { syncBuiltinESMExports } from 'node:module'
import { PacketNames } from './packet-names.ts'
import type { Points } from './points.ts'

type Chunk = Buffer | string
type Callback = (error?: Error | null) => void

/** The parts of a stream that see every byte just before it leaves, and just after it has come. */
interface Wire {
  _write: (this: Wire, chunk: Chunk, encoding: BufferEncoding, done: Callback) => void
  _writev: (
    this: Wire,
    chunks: { readonly chunk: Chunk; readonly encoding: BufferEncoding }[],
    done: Callback,
  ) => void
  push: (this: Wire, chunk: Buffer | null) => boolean
}

/** Makes every TLS handshake, and every MQTT packet either way, a point: `hub TLS`, `dps > CONNECT`, `hub < PUBACK`. */
export function watchNetwork(points: Points): void {
  const original = tls.connect
  const watched = (options: ConnectionOptions): TLSSocket => {
    const who = options.servername?.includes('provisioning') === true ? 'dps' : 'hub'
    const nth = points.enter(`${who} TLS`)
    const socket = original(options)
    socket.once('secureConnect', () => points.leave(`${who} TLS`, nth))
    watchPackets(socket, who, points)
    return socket
  }
  Object.assign(tls, { connect: watched })
  syncBuiltinESMExports()
}

function watchPackets(socket: TLSSocket, who: string, points: Points): void {
  const wire = socket as unknown as Wire
  const around = (names: readonly string[], work: () => void): void => {
    const entered = names.map((name) => [name, points.enter(name)] as const)
    work()
    for (const [name, nth] of entered) points.leave(name, nth)
  }
  const [leaving, coming] = [new PacketNames(), new PacketNames()]
  const { _write, _writev, push } = wire
  const outward = (bytes: Buffer): string[] => leaving.take(bytes).map((name) => `${who} > ${name}`)
  wire._write = (chunk, encoding, done) => {
    around(outward(toBytes(chunk, encoding)), () => _write.call(wire, chunk, encoding, done))
  }
  wire._writev = (chunks, done) => {
    const bytes = Buffer.concat(chunks.map(({ chunk, encoding }) => toBytes(chunk, encoding)))
    around(outward(bytes), () => _writev.call(wire, chunks, done))
  }
  wire.push = (chunk) => {
    if (chunk === null) return push.call(wire, chunk)
    let wantsMore = false
    const names = coming.take(chunk).map((name) => `${who} < ${name}`)
    around(names, () => (wantsMore = push.call(wire, chunk)))
    return wantsMore
  }
}

function toBytes(chunk: Chunk, encoding: BufferEncoding): Buffer {
  return typeof chunk === 'string' ? Buffer.from(chunk, encoding) : chunk
}
