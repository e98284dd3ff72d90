import type { TLSSocket } from 'node:tls'

/** What a peer speaks, by the first byte that it sends. */
export type Protocol = 'mqtt' | 'http'

const longestSilence = 30_000
/** The fixed header of CONNECT (MQTT 3.1.1, 3.1.1), which is the first packet of every client. */
const mqttConnect = 0x10

/**
 * Waits for the first byte of a connection and leaves it there for whoever reads next. A peer that says nothing for
 * half a minute is cut off; one that speaks neither protocol is left to MQTT, which ends such connections.
 *
 * ALPN is not looked at: SDKs offer names of their own or none.
 */
export function onFirstByte(socket: TLSSocket, proceed: (protocol: Protocol) => void): void {
  const giveUp = (): void => {
    socket.destroy()
  }
  const look = (): void => {
    const chunk = socket.read() as Buffer | null
    if (chunk === null) return
    socket.off('readable', look)
    socket.setTimeout(0)
    socket.off('timeout', giveUp)
    socket.unshift(chunk)
    proceed(isHttp(chunk.readUInt8(0)) ? 'http' : 'mqtt')
  }
  // Without a listener a reset in this phase would end the process.
  socket.on('error', giveUp)
  socket.setTimeout(longestSilence, giveUp)
  socket.on('readable', look)
}

/** HTTP begins with the letter of a method. */
function isHttp(byte: number): boolean {
  return byte !== mqttConnect && byte >= 0x41 && byte <= 0x5a
}
