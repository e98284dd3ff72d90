import type { TLSSocket } from 'node:tls'
import type { Dice } from './dice.ts'
import type { Face } from './fuzz.ts'
import { HttpAnswers } from './http-answers.ts'
import type { Line } from './mqtt-face.ts'
import { scratched } from './strange.ts'
import { Wire } from './wire.ts'

const upgrade = (host: string): string =>
  [
    'GET /$iothub/websocket HTTP/1.1',
    `Host: ${host}`,
    'Connection: Upgrade',
    'Upgrade: websocket',
    'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
    'Sec-WebSocket-Version: 13',
    'Sec-WebSocket-Protocol: mqtt',
    '\r\n',
  ].join('\r\n')

/** A WebSocket that carries MQTT, cut into frames where it pleases the dice. */
export class WebSocketLine implements Line {
  readonly #wire: Wire
  readonly #dice: Dice

  private constructor(wire: Wire, dice: Dice) {
    this.#wire = wire
    this.#dice = dice
  }

  /** @throws Error when the server does not upgrade */
  static async open(
    dice: Dice,
    host: string,
    open: () => TLSSocket,
    onData: (chunk: Buffer) => void,
  ): Promise<WebSocketLine> {
    const answers = new HttpAnswers([])
    const upgraded = { isDone: false }
    const frames = new ServerFrames(onData)
    const wire = await Wire.open(open(), (chunk) => {
      if (upgraded.isDone) {
        frames.push(chunk)
        return
      }
      const head = chunk.toString('latin1')
      // The server says nothing of its own before the client does.
      upgraded.isDone = /^HTTP\/1\.1 101 [^]*\r\n\r\n$/.test(head)
      if (!upgraded.isDone) answers.push(chunk)
    })
    wire.send(Buffer.from(upgrade(host)))
    await wire.until(() => upgraded.isDone || answers.list.length > 0)
    if (!upgraded.isDone) throw new Error(`No WebSocket: ${JSON.stringify(answers.list[0])}.`)
    return new WebSocketLine(wire, dice)
  }

  get isClosed(): boolean {
    return this.#wire.isClosed
  }

  send(bytes: Buffer): void {
    const cut = this.#dice.number(3) === 0 ? this.#dice.number(bytes.length) : 0
    if (cut > 0) {
      this.#wire.send(frame(0x02, bytes.subarray(0, cut)))
      if (this.#dice.chance(0.3)) this.#wire.send(frame(0x89, Buffer.from('ping')))
      this.#wire.send(frame(0x80, bytes.subarray(cut)))
    } else this.#wire.send(frame(0x82, bytes))
  }

  /** Sends what is no packet of MQTT, and perhaps no frame. */
  sendRaw(bytes: Buffer): void {
    this.#wire.send(bytes)
  }

  end(): void {
    this.#wire.end()
  }

  reset(): void {
    this.#wire.reset()
  }

  async until(condition: () => boolean): Promise<void> {
    await this.#wire.until(condition)
  }

  async closed(): Promise<void> {
    await this.#wire.closed()
  }
}

/** A frame of a client (RFC 6455, 5.2): masked. @param first - FIN, RSV1-3 and the opcode */
export function frame(first: number, payload: Buffer): Buffer {
  // A mask of nothing is one too, and leaves the payload as it is.
  return Buffer.concat([Buffer.from([first]), lengthOf(payload.length, 0x80), Buffer.alloc(4), payload])
}

/** Conversations that go no further than a spoiled request for a WebSocket, which is answered as HTTP. */
export function upgradeFace(host: string, open: () => TLSSocket): Face {
  return (dice) => {
    const bytes = Buffer.from(scratched(dice, upgrade(host)), 'latin1')
    return {
      inputs: [bytes],
      hold: async () => {
        const answers = new HttpAnswers([])
        const wire = await Wire.open(open(), (chunk) => {
          // What follows a 101 is no HTTP any more.
          if (answers.list.length === 0) answers.push(chunk)
        })
        wire.send(bytes)
        wire.end()
        await wire.closed()
        const status = answers.list[0]?.status ?? 400
        if (status >= 500) throw new Error(`Answered with ${status}.`)
      },
    }
  }
}

/** What ends a WebSocket, or must. */
export function hostileFrame(dice: Dice): Buffer {
  const payload = dice.bytes(dice.number(200))
  switch (dice.number(10)) {
    case 0:
      // Without a mask.
      return Buffer.concat([Buffer.from([0x82]), lengthOf(payload.length, 0), payload])
    case 1:
      return frame(0x80 | (0x10 << dice.number(3)) | 0x02, payload)
    case 2:
      return frame(0x80 | dice.pick([3, 4, 5, 6, 7, 11, 12, 13, 14, 15]), payload)
    case 3:
      return frame(0x80, payload)
    case 4:
      return frame(0x81, payload)
    case 5:
      // A frame that steers is short and whole.
      return dice.chance(0.5) ? frame(0x89, Buffer.alloc(126)) : frame(0x08, payload)
    case 6:
      return Buffer.concat([Buffer.from([0x82, 0xff]), Buffer.alloc(8, 0x7f), payload])
    case 7:
      return Buffer.concat([frame(0x02, payload), frame(0x02, payload)])
    case 8:
      return frame(0x88, dice.pick([Buffer.alloc(0), Buffer.from([3]), Buffer.from([0, 1]), payload]))
    default:
      return dice.bytes(1 + dice.number(100))
  }
}

function lengthOf(length: number, mask: number): Buffer {
  if (length < 126) return Buffer.from([mask | length])
  if (length < 0x10000) return Buffer.from([mask | 126, length >> 8, length & 0xff])
  const long = Buffer.alloc(9, mask | 127)
  long.writeBigUInt64BE(BigInt(length), 1)
  return long
}

/** Reads the frames of a server, which are not masked. */
class ServerFrames {
  readonly #onData: (chunk: Buffer) => void
  #rest = Buffer.alloc(0)

  constructor(onData: (chunk: Buffer) => void) {
    this.#onData = onData
  }

  push(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (let end = this.#take(); end > 0; end = this.#take()) this.#rest = this.#rest.subarray(end)
  }

  /** @returns how long the first frame is, 0 while it is not whole */
  #take(): number {
    if (this.#rest.length < 2) return 0
    const short = this.#rest.readUInt8(1)
    const start = short < 126 ? 2 : short === 126 ? 4 : 10
    if (this.#rest.length < start) return 0
    const length =
      short < 126 ? short : short === 126 ? this.#rest.readUInt16BE(2) : Number(this.#rest.readBigUInt64BE(2))
    if (this.#rest.length < start + length) return 0
    const opcode = this.#rest.readUInt8(0) & 0x0f
    if (![0, 2, 8, 9, 10].includes(opcode)) throw new Error(`An MQTT server sends no frame ${opcode}.`)
    if (opcode === 0 || opcode === 2) this.#onData(this.#rest.subarray(start, start + length))
    return start + length
  }
}
