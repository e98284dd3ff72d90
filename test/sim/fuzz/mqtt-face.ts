import type { Dice } from './dice.ts'
import { changedKeys, type Face, type State } from './fuzz.ts'
import {
  bearable,
  harmless,
  hostile,
  spoiledConnect,
  type MqttInput,
  type PublishTemplate,
} from './mqtt-input.ts'
import {
  connect,
  pingRequest,
  ServerPackets,
  subscribe,
  type Connect,
  type ServerPacket,
} from './mqtt-packets.ts'

/** What carries MQTT. */
export interface Line {
  readonly isClosed: boolean
  /** Sends MQTT. */
  send(bytes: Buffer): void
  /** Sends what may be none, without what carries MQTT. */
  sendRaw(bytes: Buffer): void
  end(): void
  reset(): void
  until(condition: () => boolean): Promise<void>
  closed(): Promise<void>
}

/** What a server has published. */
export type Heard = Extract<ServerPacket, { readonly type: 'publish' }>

/** What ends a connection; `isRaw` when it is not carried as MQTT is. */
export interface Hostile {
  readonly bytes: Buffer
  readonly isRaw?: boolean
}

/** A service over MQTT, as a fuzz test sees it. */
export interface MqttFace {
  /** @param onData - told of what the server sends, without what carries it */
  readonly open: (dice: Dice, onData: (chunk: Buffer) => void) => Promise<Line>
  readonly who: Connect
  /** What the device listens to. */
  readonly filters: readonly string[]
  readonly templates: (dice: Dice) => readonly PublishTemplate[]
  /** Something to end a conversation with, beside what no service puts up with. */
  readonly hostile: (dice: Dice) => Hostile
  /** @throws Error when the server should not have published this */
  readonly heard: (publication: Heard) => void
  /** Everything that a device can change. */
  readonly state: () => State
  /** Whether what was heard explains that a part of the state has changed. */
  readonly explains: (key: string, heard: readonly Heard[]) => boolean
  /** Called after each conversation, when everything in it has been looked at. */
  readonly tidy?: () => void
}

const mostPackets = 100

/** What was answered. */
interface Said {
  readonly packets: readonly ServerPacket[]
  /** Whether a reset may have lost the answers to the last inputs, which were followed all the same. */
  readonly isCut: boolean
}

/** Conversations with one service: what it puts up with is answered, and the rest ends the connection. */
export function mqttFace(face: MqttFace): Face {
  let before = face.state()
  const look = ({ packets, isCut }: Said): void => {
    const heard = packets.filter((one) => one.type === 'publish')
    for (const publication of heard) face.heard(publication)
    const after = face.state()
    for (const key of changedKeys(before, after)) {
      if (!isCut && !face.explains(key, heard)) {
        throw new Error(`${key} has changed from ${before.get(key) ?? '-'} to ${after.get(key) ?? '-'}.`)
      }
    }
    before = after
    face.tidy?.()
  }
  return (dice) => {
    if (dice.chance(0.2)) {
      const bytes = spoiledConnect(dice, face.who)
      return {
        inputs: [bytes],
        hold: async () => look({ packets: await knock(dice, face, bytes), isCut: false }),
      }
    }
    const templates = face.templates(dice)
    const inputs = Array.from({ length: 1 + dice.number(mostPackets) }, () =>
      dice.chance(0.8) ? bearable(dice, dice.pick(templates)) : harmless(dice, face.filters),
    )
    const last = Array.from({ length: dice.number(3) }, () =>
      dice.chance(0.4) ? face.hostile(dice) : { bytes: hostile(dice, templates, face.who) },
    )
    return {
      inputs: [connect(face.who), ...[...inputs, ...last].map(({ bytes }) => bytes)],
      hold: async () => look(await talk(dice, face, inputs, last)),
    }
  }
}

/** Comes to the door and no further. */
async function knock(dice: Dice, face: MqttFace, bytes: Buffer): Promise<readonly ServerPacket[]> {
  const packets = new ServerPackets()
  const line = await face.open(dice, (chunk) => {
    // What begins with the letter of a method is HTTP to the cloud, and answered so.
    if (!chunk.toString('latin1').startsWith('HTTP/1.1 4')) packets.push(chunk)
  })
  line.send(Buffer.concat([bytes, pingRequest]))
  line.end()
  await line.closed()
  const [first, ...more] = packets.list
  if (first !== undefined && first.type !== 'connack') throw new Error('No CONNACK came first.')
  if (first?.code !== 0 && more.length > 0) throw new Error('More came after a refusal.')
  return more
}

async function talk(
  dice: Dice,
  face: MqttFace,
  inputs: readonly MqttInput[],
  last: readonly Hostile[],
): Promise<Said> {
  const packets = new ServerPackets()
  const line = await face.open(dice, (chunk) => packets.push(chunk))
  const count = (type: ServerPacket['type']): number => packets.list.filter((one) => one.type === type).length
  const until = async (what: string, condition: () => boolean): Promise<void> => {
    await line.until(condition)
    if (!condition()) throw new Error(`The connection has ended before ${what} came.`)
  }
  line.send(connect(face.who))
  await until('CONNACK', () => count('connack') > 0)
  const [first] = packets.list
  if (first?.type !== 'connack' || first.code !== 0) throw new Error(`Refused: ${JSON.stringify(first)}.`)
  line.send(subscribe(face.filters))
  await until('SUBACK', () => count('suback') > 0)
  for (const { bytes } of inputs) line.send(bytes)
  line.send(pingRequest)
  const owed = inputs.reduce((sum, input) => sum + input.owed, 0)
  const pings = 1 + inputs.filter(({ bytes }) => bytes.equals(pingRequest)).length
  await until('every answer', () => count('pingresp') >= pings && count('publish') >= owed)
  for (const { bytes, isRaw = false } of last) {
    if (isRaw) line.sendRaw(bytes)
    else line.send(bytes)
  }
  const isCut = dice.chance(0.2)
  if (isCut) line.reset()
  else line.end()
  await line.closed()
  return { packets: packets.list, isCut: isCut && last.length > 0 }
}
