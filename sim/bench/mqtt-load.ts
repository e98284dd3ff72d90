import { connect, type SecureContext, type TLSSocket } from 'node:tls'
import { generate } from 'mqtt-packet'

/** How to reach a broker as one device. */
export interface BrokerLogin {
  readonly port: number
  readonly servername: string
  readonly secureContext: SecureContext
  readonly deviceId: string
  readonly userName: string
}

const connack = 0x20
const puback = 0x40
/** Both have four bytes in MQTT 3.1.1. */
const answerBytes = 4

/** TCP, mutual TLS, CONNECT and CONNACK. Nothing is resumed. */
export function openSession(login: BrokerLogin): Promise<TLSSocket> {
  const { port, servername, secureContext, deviceId, userName } = login
  return new Promise((resolve, reject) => {
    const socket = connect({ host: '127.0.0.1', port, servername, secureContext })
    socket.setNoDelay(true)
    socket.once('error', reject)
    socket.once('close', () => reject(new Error('The broker has closed the connection.')))
    socket.once('secureConnect', () => {
      socket.write(
        generate({
          cmd: 'connect',
          clientId: deviceId,
          username: userName,
          keepalive: 180,
          clean: true,
          protocolVersion: 4,
          protocolId: 'MQTT',
        }),
      )
    })
    socket.once('data', (answer: Buffer) => {
      socket.removeAllListeners('close')
      if (answer.length === answerBytes && answer[0] === connack && answer[3] === 0) resolve(socket)
      else reject(new Error(`Expected CONNACK 0, got ${answer.toString('hex')}.`))
    })
  })
}

/** Opens and drops sessions, `atOnce` at a time. @returns sessions a second */
export async function connectsPerSecond(logins: readonly BrokerLogin[], count: number): Promise<number> {
  let begun = 0
  const start = performance.now()
  await Promise.all(
    logins.map(async (login) => {
      while (begun < count) {
        begun += 1
        const socket = await openSession(login)
        socket.destroy()
      }
    }),
  )
  return (count * 1000) / (performance.now() - start)
}

/**
 * Publishes with QoS 1 over one session for each login, with at most `window` messages unacknowledged on each.
 *
 * @returns acknowledged messages a second
 */
export async function messagesPerSecond(
  logins: readonly BrokerLogin[],
  count: number,
  window: number,
  bytes: number,
): Promise<number> {
  const sockets = await Promise.all(logins.map(openSession))
  try {
    const each = Math.ceil(count / sockets.length)
    const start = performance.now()
    await Promise.all(
      sockets.map((socket, index) => publishAll(socket, logins[index]?.deviceId ?? '', each, window, bytes)),
    )
    return (each * sockets.length * 1000) / (performance.now() - start)
  } finally {
    for (const socket of sockets) socket.destroy()
  }
}

function publishAll(
  socket: TLSSocket,
  deviceId: string,
  count: number,
  window: number,
  bytes: number,
): Promise<void> {
  // Made once for each packet id, so that the client's own work is small.
  const packets = Array.from({ length: window }, (_, index) =>
    generate({
      cmd: 'publish',
      topic: `devices/${deviceId}/messages/events/`,
      payload: Buffer.alloc(bytes, 'm'),
      qos: 1,
      messageId: index + 1,
      dup: false,
      retain: false,
    }),
  )
  return new Promise((resolve, reject) => {
    let sent = 0
    let acknowledged = 0
    let rest: Buffer = Buffer.alloc(0)
    const publish = (messageId: number): void => {
      const packet = packets[messageId - 1]
      if (packet === undefined || sent === count) return
      sent += 1
      socket.write(packet)
    }
    socket.once('close', () => reject(new Error(`${acknowledged} of ${count} messages were acknowledged.`)))
    socket.on('data', (chunk: Buffer) => {
      rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk])
      socket.cork()
      let offset = 0
      for (; offset + answerBytes <= rest.length; offset += answerBytes) {
        if (rest[offset] !== puback)
          return void socket.destroy(new Error(`Expected PUBACK, got ${rest.toString('hex', offset)}.`))
        acknowledged += 1
        publish(rest.readUInt16BE(offset + 2))
      }
      rest = rest.subarray(offset)
      socket.uncork()
      if (acknowledged === count) resolve()
    })
    socket.cork()
    for (let messageId = 1; messageId <= window; messageId += 1) publish(messageId)
    socket.uncork()
  })
}
