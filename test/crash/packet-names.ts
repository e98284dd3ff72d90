/** MQTT 3.1.1, 2.2.1; the position is the packet type. */
const names =
  'none CONNECT CONNACK PUBLISH PUBACK PUBREC PUBREL PUBCOMP SUBSCRIBE SUBACK UNSUBSCRIBE UNSUBACK PINGREQ PINGRESP DISCONNECT'.split(
    ' ',
  )

/** Tells from a stream of bytes which MQTT packets it is made of. */
export class PacketNames {
  #rest = Buffer.alloc(0)

  /** The packets that end within these bytes. */
  take(bytes: Buffer): string[] {
    this.#rest = Buffer.concat([this.#rest, bytes])
    const complete: string[] = []
    for (
      let length = packetLength(this.#rest);
      length <= this.#rest.length;
      length = packetLength(this.#rest)
    ) {
      complete.push(names[(this.#rest[0] ?? 0) >> 4] ?? 'none')
      this.#rest = this.#rest.subarray(length)
    }
    return complete
  }
}

/** The whole length of the first packet (MQTT 3.1.1, 2.2.3); infinite while its header is not complete. */
function packetLength(bytes: Buffer): number {
  let length = 0
  for (let index = 1; index <= 4; index += 1) {
    const byte = bytes[index]
    if (byte === undefined) return Infinity
    length += (byte & 0x7f) * 128 ** (index - 1)
    if (byte < 0x80) return 1 + index + length
  }
  throw new Error('This is no MQTT packet: its length has more than four bytes.')
}
