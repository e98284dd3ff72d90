/** Just enough MQTT 3.1.1 to script a server byte by byte. */
export type WirePacket =
  | { readonly cmd: 'connect'; readonly clientId: string; readonly username: string; readonly clean: boolean }
  | {
      readonly cmd: 'publish'
      readonly topic: string
      readonly payload: string
      readonly id: number | undefined
    }
  | { readonly cmd: 'subscribe'; readonly id: number; readonly topic: string }
  | { readonly cmd: 'unsubscribe'; readonly id: number }
  | { readonly cmd: 'disconnect' | 'pingreq' | 'puback' }

/** Splits a stream of bytes into packets. */
export function packetReader(onPacket: (packet: WirePacket) => void): (chunk: Buffer) => void {
  let rest = Buffer.alloc(0)
  return (chunk) => {
    rest = Buffer.concat([rest, chunk])
    for (let frame = takeFrame(rest); frame !== undefined; frame = takeFrame(rest)) {
      rest = frame.rest
      onPacket(decode(frame.first, frame.body))
    }
  }
}

function takeFrame(bytes: Buffer): { first: number; body: Buffer; rest: Buffer<ArrayBuffer> } | undefined {
  let length = 0
  for (let index = 1; index < Math.min(bytes.length, 5); index++) {
    const byte = bytes.readUInt8(index)
    length += (byte & 127) * 128 ** (index - 1)
    if ((byte & 128) !== 0) continue
    const end = index + 1 + length
    if (bytes.length < end) return undefined
    return {
      first: bytes.readUInt8(0),
      body: bytes.subarray(index + 1, end),
      rest: Buffer.from(bytes.subarray(end)),
    }
  }
  return undefined
}

function decode(first: number, body: Buffer): WirePacket {
  switch (first >> 4) {
    case 1: {
      const clientId = readText(body, 10)
      const flags = body.readUInt8(7)
      const username = (flags & 0x80) === 0 ? '' : readText(body, 12 + Buffer.byteLength(clientId))
      return { cmd: 'connect', clientId, username, clean: (flags & 2) !== 0 }
    }
    case 3: {
      const topic = readText(body, 0)
      const at = 2 + Buffer.byteLength(topic)
      const acknowledged = (first & 6) !== 0
      return {
        cmd: 'publish',
        topic,
        id: acknowledged ? body.readUInt16BE(at) : undefined,
        payload: body.subarray(acknowledged ? at + 2 : at).toString('utf8'),
      }
    }
    case 8:
      return { cmd: 'subscribe', id: body.readUInt16BE(0), topic: readText(body, 2) }
    case 10:
      return { cmd: 'unsubscribe', id: body.readUInt16BE(0) }
    case 12:
      return { cmd: 'pingreq' }
    case 14:
      return { cmd: 'disconnect' }
    default:
      return { cmd: 'puback' }
  }
}

function readText(body: Buffer, at: number): string {
  return body.subarray(at + 2, at + 2 + body.readUInt16BE(at)).toString('utf8')
}

function frame(first: number, ...parts: readonly Buffer[]): Buffer {
  const body = Buffer.concat(parts)
  const length: number[] = []
  let rest = body.length
  do {
    const low = rest % 128
    rest = Math.floor(rest / 128)
    length.push(rest > 0 ? low | 128 : low)
  } while (rest > 0)
  return Buffer.concat([Buffer.from([first, ...length]), body])
}

const u16 = (value: number): Buffer => Buffer.from([value >> 8, value & 255])

export const connack = (returnCode: number, sessionPresent = false): Buffer =>
  frame(0x20, Buffer.from([sessionPresent ? 1 : 0, returnCode]))
export const suback = (id: number, granted = 1): Buffer => frame(0x90, u16(id), Buffer.from([granted]))
export const puback = (id: number): Buffer => frame(0x40, u16(id))
export const unsuback = (id: number): Buffer => frame(0xb0, u16(id))
export const publish = (topic: string, payload: string | Buffer): Buffer =>
  frame(0x30, u16(Buffer.byteLength(topic)), Buffer.from(topic), Buffer.from(payload))
