/** MQTT 3.1.1 as a client writes it, also wrongly, and as it reads a server. */

/** What a CONNECT says. */
export interface Connect {
  readonly clientId: string
  readonly userName?: string
  readonly password?: string
  readonly clean?: boolean
  readonly keepAlive?: number
  readonly will?: { readonly topic: string; readonly payload: string; readonly qos: number }
  readonly protocol?: string
  readonly level?: number
}

/** A packet: its type with its flags in one byte, its length, and its parts. */
export function packet(first: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  return Buffer.concat([Buffer.from([first, ...lengthBytes(body.length)]), body])
}

export function connect(options: Connect): Buffer {
  const { clientId, userName, password, clean = true, keepAlive = 60, will } = options
  const flags =
    (userName === undefined ? 0 : 0x80) |
    (password === undefined ? 0 : 0x40) |
    (will === undefined ? 0 : 0x04 | (will.qos << 3)) |
    (clean ? 0x02 : 0)
  return packet(
    0x10,
    text(options.protocol ?? 'MQTT'),
    Buffer.from([options.level ?? 4, flags & 0xff]),
    number16(keepAlive),
    text(clientId),
    ...(will === undefined ? [] : [text(will.topic), text(will.payload)]),
    ...[userName, password].filter((value) => value !== undefined).map(text),
  )
}

export function publish(topic: string, payload: string | Buffer, qos = 0, flags = 0): Buffer {
  const id = qos === 0 ? [] : [number16(nextId())]
  return packet(0x30 | (qos << 1) | flags, text(topic), ...id, Buffer.from(payload))
}

export function subscribe(filters: readonly string[], qos = 0): Buffer {
  return packet(0x82, number16(nextId()), ...filters.flatMap((filter) => [text(filter), Buffer.from([qos])]))
}

export function unsubscribe(filters: readonly string[]): Buffer {
  return packet(0xa2, number16(nextId()), ...filters.map(text))
}

export const pingRequest = packet(0xc0)
export const disconnect = packet(0xe0)

let lastId = 0

function nextId(): number {
  lastId = (lastId % 0xffff) + 1
  return lastId
}

/** A text with its length in front, which is wrong for what is too long. */
export function text(value: string): Buffer {
  const bytes = Buffer.from(value)
  return Buffer.concat([number16(bytes.length & 0xffff), bytes])
}

export function number16(value: number): Buffer {
  return Buffer.from([(value >> 8) & 0xff, value & 0xff])
}

function lengthBytes(length: number): readonly number[] {
  const low = length % 128
  return length < 128 ? [low] : [low | 0x80, ...lengthBytes(Math.floor(length / 128))]
}

/** What a server says. */
export type ServerPacket =
  | { readonly type: 'connack'; readonly code: number }
  | { readonly type: 'publish'; readonly topic: string; readonly payload: string; readonly id?: number }
  | { readonly type: 'puback' | 'pubrel' | 'pubcomp' | 'suback' | 'unsuback' | 'pingresp' }

/** Cuts what a server sends into packets. */
export class ServerPackets {
  readonly list: ServerPacket[] = []
  #rest = Buffer.alloc(0)

  /** Bytes of a packet that has begun and not ended. */
  get restLength(): number {
    return this.#rest.length
  }

  /** @throws Error when it is nothing that a server may send */
  push(chunk: Buffer): void {
    this.#rest = Buffer.concat([this.#rest, chunk])
    for (let frame = this.#frame(); frame !== undefined; frame = this.#frame()) {
      this.list.push(read(this.#rest.readUInt8(0), this.#rest.subarray(frame.start, frame.end)))
      this.#rest = this.#rest.subarray(frame.end)
    }
  }

  #frame(): { readonly start: number; readonly end: number } | undefined {
    let length = 0
    for (let at = 1; at < this.#rest.length; at += 1) {
      if (at > 4) throw new Error('A length has more than four bytes.')
      const byte = this.#rest.readUInt8(at)
      length += (byte & 0x7f) * 128 ** (at - 1)
      if (byte >= 0x80) continue
      const end = at + 1 + length
      return end <= this.#rest.length ? { start: at + 1, end } : undefined
    }
    return undefined
  }
}

function read(first: number, body: Buffer): ServerPacket {
  switch (first >> 4) {
    case 2:
      return { type: 'connack', code: body.readUInt8(1) }
    case 3: {
      const end = 2 + body.readUInt16BE(0)
      const topic = body.subarray(2, end).toString()
      if (/[#+\0]/.test(topic)) throw new Error(`No topic of a publication: ${JSON.stringify(topic)}.`)
      return (first & 6) === 0
        ? { type: 'publish', topic, payload: body.subarray(end).toString() }
        : { type: 'publish', topic, payload: body.subarray(end + 2).toString(), id: body.readUInt16BE(end) }
    }
    case 4:
      return { type: 'puback' }
    case 6:
      return { type: 'pubrel' }
    case 7:
      return { type: 'pubcomp' }
    case 9:
      return { type: 'suback' }
    case 11:
      return { type: 'unsuback' }
    case 13:
      return { type: 'pingresp' }
    default:
      throw new Error(`A server does not send packets that begin with ${first}.`)
  }
}
