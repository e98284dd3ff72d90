import type { Dice } from './dice.ts'
import {
  connect,
  disconnect,
  number16,
  packet,
  pingRequest,
  publish,
  subscribe,
  text,
  unsubscribe,
  type Connect,
} from './mqtt-packets.ts'
import { scratched, scratchedBytes, spoiled, strangeText, toText } from './strange.ts'

/** One packet, as it is sent. */
export interface MqttInput {
  readonly bytes: Buffer
  /** How many publications the server answers with. */
  readonly owed: number
}

/** A publication that a service takes. */
export interface PublishTemplate {
  readonly topic: string
  /** JSON; a text is sent as it is. */
  readonly body: unknown
  /** Whether the service answers it, whatever is wrong with its body. */
  readonly isAnswered: boolean
}

/** A publication with something wrong in its body, which a service puts up with. */
export function bearable(dice: Dice, { topic, body, isAnswered }: PublishTemplate): MqttInput {
  const given = typeof body === 'string' ? body : toText(body)
  const payload = dice.pick([
    given,
    typeof body === 'string' ? scratched(dice, body) : toText(spoiled(dice, body)),
    typeof body === 'string' ? strangeText(dice) : toText(spoiled(dice, spoiled(dice, body))),
    dice.chance(0.3) ? scratched(dice, given) : given,
  ])
  const flags = dice.pick([0x00, 0x00, 0x01, 0x08])
  const qos = dice.chance(0.5) ? 1 : 0
  // DUP has no meaning without an acknowledgement, and is an error there.
  return {
    bytes: publish(topic, payload, qos, qos === 0 ? flags & 0x01 : flags),
    owed: isAnswered ? 1 : 0,
  }
}

/** Packets that any server must put up with. */
export function harmless(dice: Dice, filters: readonly string[]): MqttInput {
  const bytes = dice.pick([
    pingRequest,
    subscribe([dice.pick(filters)], dice.number(3)),
    unsubscribe([dice.pick(['hello/world', 'a/b/c'])]),
    packet(0x40, number16(1 + dice.number(0xffff))),
    packet(0x70, number16(1 + dice.number(0xffff))),
  ])
  return { bytes, owed: 0 }
}

/** What a server may end the connection for, or must. */
export function hostile(dice: Dice, templates: readonly PublishTemplate[], who: Connect): Buffer {
  const { topic, body } = dice.pick(templates)
  const payload = typeof body === 'string' ? body : toText(body)
  switch (dice.number(20)) {
    case 0:
      return publish(topic, payload, 2)
    case 1:
      return publish(topic, payload, 3)
    case 2:
      return publish('', payload)
    case 3:
      return publish(
        dice.pick(['#', '+', `${topic}#`, `${topic}/+/x`, `\0${topic}`, '/'.repeat(500)]),
        payload,
      )
    case 4:
      return publish(strangeText(dice), strangeText(dice), dice.number(2))
    case 5:
      return publish(`${topic}${'x'.repeat(65_530 - topic.length)}`, payload)
    case 6:
      return publish(topic, dice.chance(0.1) ? 'x'.repeat(700_000) : strangeText(dice))
    case 7:
      return subscribe([strangeText(dice)], dice.number(4))
    case 8:
      return subscribe(dice.pick([['#'], ['$SYS/#'], [], ['+/+'], ['a/#/b'], [''], ['x'.repeat(65_000)]]))
    case 9:
      return unsubscribe(dice.pick([[''], ['a/#/b'], [], [strangeText(dice)]]))
    case 10:
      return connect(who)
    case 11:
      return packet(dice.number(256), dice.bytes(dice.number(30)))
    case 12:
      // As long as it can be, and never sent.
      return Buffer.concat([Buffer.from([0x30, 0xff, 0xff, 0xff, 0x7f]), dice.bytes(50)])
    case 13:
      return Buffer.from([0x30, 0xff, 0xff, 0xff, 0xff, 0x7f])
    case 14:
      return packet(0x62, number16(dice.number(0x10000)))
    case 15:
      return packet(0x50, number16(dice.number(0x10000)))
    case 16:
      return Buffer.concat([disconnect, publish(topic, payload)])
    case 17:
      return packet(0x30, text(topic).subarray(0, dice.number(topic.length)))
    case 18:
      return dice.bytes(1 + dice.number(60))
    default:
      return scratchedBytes(dice, publish(scratched(dice, topic), payload, dice.number(2)))
  }
}

/** A CONNECT with something wrong. */
export function spoiledConnect(dice: Dice, who: Connect): Buffer {
  const odd = strangeText(dice)
  const spoilt = dice.pick<Connect>([
    { ...who, clientId: odd },
    { ...who, clientId: '', clean: false },
    { ...who, userName: odd },
    { ...who, userName: scratched(dice, who.userName ?? '') },
    { ...who, userName: 'x'.repeat(66_000) },
    { ...who, password: odd },
    { ...who, protocol: dice.pick(['MQIsdp', 'AMQP', '', odd]) },
    { ...who, level: dice.number(256) },
    { ...who, keepAlive: dice.pick([0, 1, 65_535]) },
    { ...who, will: { topic: odd, payload: odd, qos: dice.number(4) } },
    {
      ...who,
      will: { topic: `devices/${who.clientId}/messages/events/`, payload: odd, qos: dice.number(3) },
    },
  ])
  const bytes = connect(spoilt)
  return dice.chance(0.3) ? scratchedBytes(dice, connect(who)) : bytes
}
