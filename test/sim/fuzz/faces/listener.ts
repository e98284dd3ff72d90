import { once } from 'node:events'
import { connect as connectTcp, createServer, type AddressInfo, type Socket } from 'node:net'
import { connect as connectTls, TLSSocket } from 'node:tls'
import type { SimulatedCloud } from 'leafkeeper-sim'
import type { Dice } from '../dice.ts'
import { changedKeys, type Face } from '../fuzz.ts'
import { connect } from '../mqtt-packets.ts'
import { opener } from '../opener.ts'
import { provisioningState } from '../provisioning-state.ts'
import { scratchedBytes, strangeText } from '../strange.ts'

/** The port itself: what comes in place of a TLS handshake, and what comes first behind one. */
export async function listenerFace(cloud: SimulatedCloud): Promise<Face> {
  const hello = await clientHello()
  const open = opener(cloud, 'localhost')
  const before = provisioningState(cloud)
  const look = (): void => {
    expectNothing(changedKeys(before, provisioningState(cloud)))
  }
  return (dice) => {
    if (dice.chance(0.05)) {
      const bytes = firstBytes(dice)
      return {
        inputs: [bytes],
        hold: async () => {
          const socket = open()
          await once(socket, 'secureConnect')
          await utter(dice, socket, bytes)
          look()
        },
      }
    }
    // Many at a time, as scanners do it.
    const inputs = Array.from({ length: 1 + dice.number(40) }, () => handshake(dice, hello))
    return {
      inputs,
      hold: async () => {
        await Promise.all(inputs.map((bytes) => utter(dice, connectTcp(cloud.port, '127.0.0.1'), bytes)))
        look()
      },
    }
  }
}

function expectNothing(changed: readonly string[]): void {
  if (changed.length > 0) throw new Error(`Has changed: ${changed.join(', ')}.`)
}

/** What a client of TLS says first, as it goes over the wire. */
async function clientHello(): Promise<Buffer> {
  const server = createServer()
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  const client = connectTls({ port, host: '127.0.0.1', servername: 'localhost' })
  client.on('error', () => undefined)
  const [peer] = (await once(server, 'connection')) as [Socket]
  const [hello] = (await once(peer, 'data')) as [Buffer]
  client.destroy()
  peer.destroy()
  server.close()
  return hello
}

/** What comes in place of a handshake. */
function handshake(dice: Dice, hello: Buffer): Buffer {
  switch (dice.number(10)) {
    case 0:
      return dice.bytes(dice.number(300))
    case 1:
      return Buffer.from(
        dice.pick(['GET / HTTP/1.1\r\nhost: localhost\r\n\r\n', 'SSH-2.0-x\r\n', strangeText(dice)]),
      )
    case 2:
      return connect({ clientId: 'plain', userName: 'plain' })
    case 3:
      return hello.subarray(0, dice.number(hello.length))
    case 4:
      return Buffer.concat([hello, hello])
    case 5:
      return Buffer.concat([hello, dice.bytes(dice.number(100))])
    case 6:
      // A record of any type, of any version, of any length.
      return Buffer.concat([dice.bytes(5), hello.subarray(5)])
    case 7:
      // An alert.
      return Buffer.from([0x15, 0x03, 0x03, 0x00, 0x02, dice.number(3), dice.number(256)])
    default:
      return scratchedBytes(dice, hello)
  }
}

/** What comes first behind a handshake: the first byte tells MQTT from HTTP. */
function firstBytes(dice: Dice): Buffer {
  const first = Buffer.from([dice.number(256)])
  switch (dice.number(4)) {
    case 0:
      return first
    case 1:
      return Buffer.concat([first, dice.bytes(dice.number(300))])
    case 2:
      return Buffer.from(`${String.fromCharCode(0x41 + dice.number(26))}${strangeText(dice)}\r\n\r\n`)
    default:
      return Buffer.alloc(0)
  }
}

/** Says it, in one piece or more, and goes, politely or not. */
async function utter(dice: Dice, socket: Socket, bytes: Buffer): Promise<void> {
  const closed = new Promise((resolve) => socket.once('close', resolve))
  // A server may reset a connection that it does not want to read to its end.
  socket.on('error', () => undefined)
  socket.resume()
  const cut = dice.number(bytes.length + 1)
  const isPolite = dice.chance(0.8)
  socket.setNoDelay(true)
  socket.write(bytes.subarray(0, cut))
  if (isPolite) socket.end(bytes.subarray(cut))
  else {
    socket.write(bytes.subarray(cut), () => {
      if (socket instanceof TLSSocket) socket.destroy()
      else socket.resetAndDestroy()
    })
  }
  await closed
}
