import { randomUUID } from 'node:crypto'
import type { EventEmitter } from 'node:events'
import type { Duplex } from 'node:stream'
import type { TLSSocket } from 'node:tls'
import type {
  Client,
  ConnackPacket,
  ConnectPacket,
  PublishPacket,
  SubscribePacket,
  Subscription,
} from 'aedes'
import { PresentedChain } from '../pki/presented-chain.ts'
import { DirectBroker } from './direct-broker.ts'
import {
  ConnectRefused,
  ProtocolViolation,
  type ConnectRequest,
  type DeviceConnection,
  type MqttService,
  type MqttSession,
} from './session.ts'

/** Finds the service that a CONNECT is meant for. @throws ConnectRefused when there is none */
export type Route = (userName: string) => MqttService

/** What a service is to do differently with a CONNECT or with a publication. */
export interface MqttTrouble {
  /** Milliseconds to wait first. */
  readonly delayMs: number
  /** Ends the connection before the work is done, or after it and without an answer. */
  readonly cut: 'before' | 'after' | undefined
  /** Called in place of an error that comes by itself. @throws ConnectRefused, ProtocolViolation */
  readonly refuse: () => void
}

/** What goes wrong on this occasion; `undefined` when nothing does. */
export type TroubleOf = (service: MqttService, occasion: 'connect' | 'publish') => MqttTrouble | undefined

/** From the socket to the answer of a CONNECT. */
interface Visit {
  readonly peer: TLSSocket
  /** What carries MQTT. */
  readonly stream: Duplex
  readonly connection: DeviceConnection
  connect: ConnectPacket | undefined
  service: MqttService | undefined
  clientId: string
  /** Decides on the CONNECT; refuses when it is meant for no service. */
  accept: MqttService['accept']
  session: MqttSession | undefined
}

/**
 * MQTT 3.1.1 for all services behind one port: parses, keeps time and acknowledges (aedes does), asks the route
 * which service a CONNECT is for, and hands everything after it to that service's session.
 */
export class MqttFront {
  readonly #broker: DirectBroker
  readonly #route: Route
  readonly #troubleOf: TroubleOf
  // Weak, since a will is published after its connection has closed.
  readonly #visits = new WeakMap<Client, Visit>()
  /** By the client id that aedes knows, for clients that may come back. */
  readonly #returning = new Map<string, Visit>()

  private constructor(broker: DirectBroker, route: Route, troubleOf: TroubleOf) {
    this.#broker = broker
    this.#route = route
    this.#troubleOf = troubleOf
    broker.preConnect = (client, packet, answer) => answer(null, this.#prepare(client, packet))
    broker.authenticate = (client, _userName, _password, answer) => {
      this.#meet(this.#visits.get(client), 'connect', (trouble) => {
        this.#authenticate(client, answer, trouble)
      })
    }
    broker.authorizePublish = (client, packet, answer) => {
      const visit = client === null ? undefined : this.#visits.get(client)
      this.#meet(packet === visit?.connect?.will ? undefined : visit, 'publish', (trouble) => {
        const refusal = guarded(() => {
          if (packet !== visit?.connect?.will) requireOpen(visit)
          if (trouble?.cut === 'before') throw new ProtocolViolation(asked)
          trouble?.refuse()
          this.#publish(client, packet)
          if (trouble?.cut === 'after') throw new ProtocolViolation(asked)
        })
        answer(refusal)
      })
    }
    broker.authorizeSubscribe = (client, subscription, answer) => {
      const visit = this.#visits.get(client)
      const refusal = guarded(() => {
        requireOpen(visit)
        const qos = subscription.qos === 0 ? 0 : 1
        visit?.session?.subscribed(subscription.topic, qos)
      })
      answer(refusal, refusal === null ? subscription : null)
    }
    broker.keepSessionsElsewhere((id) => this.#returning.get(id)?.session?.stored?.() ?? [])
    broker.on('subscribe', (subscriptions, client) => {
      for (const { topic } of subscriptions) this.#visits.get(client)?.session?.listening?.(topic)
    })
    broker.on('ack', (packet, client) => {
      const { messageId } = packet as { readonly messageId?: number }
      if (messageId !== undefined) this.#visits.get(client)?.session?.acknowledged?.(messageId)
    })
    broker.on('unsubscribe', (filters, client) => {
      for (const filter of filters) this.#visits.get(client)?.session?.unsubscribed(filter)
    })
    broker.on('connackSent', (packet: ConnackPacket, client: Client) => {
      if (packet.returnCode === 0) this.#visits.get(client)?.session?.opened()
    })
  }

  static async open(route: Route, troubleOf: TroubleOf = () => undefined): Promise<MqttFront> {
    const broker = new DirectBroker()
    await broker.listen()
    return new MqttFront(broker, route, troubleOf)
  }

  /**
   * Speaks MQTT on a socket whose TLS handshake is done.
   *
   * @param peer - who has shown certificates
   * @param stream - what carries MQTT, where that is not the socket itself but a WebSocket on it
   */
  handle(peer: TLSSocket, stream: Duplex = peer): void {
    const client = this.#broker.handle(stream)
    grantAtMostQos1(client)
    limitPackets(client, stream)
    this.#visits.set(client, {
      peer,
      stream,
      connection: connectionOf(client, stream),
      connect: undefined,
      service: undefined,
      clientId: '',
      accept: refuse,
      session: undefined,
    })
    stream.once('close', () => {
      this.#returning.delete(client.id)
      this.#visits.get(client)?.session?.closed()
    })
  }

  async close(): Promise<void> {
    await new Promise<void>((resolve) => this.#broker.close(resolve))
  }

  /** Before aedes looks at a CONNECT. */
  #prepare(client: Client, packet: ConnectPacket): boolean {
    const visit = this.#visits.get(client)
    if (visit === undefined) return false
    // Azure speaks 3.1.1 only; aedes would take 3.1 too, and answers code 1 to every version it does not know.
    if (packet.protocolVersion !== 4) packet.protocolVersion = 5
    visit.connect = packet
    visit.clientId = packet.clientId
    const service = this.#serviceFor(visit)
    // Who takes over from whom is for the service to say: to aedes every connection is another client.
    packet.clientId = randomUUID()
    if (service?.keepsSessions !== true) packet.clean = true
    else if (packet.clean !== true) this.#returning.set(packet.clientId, visit)
    return true
  }

  #serviceFor(visit: Visit): MqttService | undefined {
    try {
      const service = this.#route(visit.connect?.username ?? '')
      visit.service = service
      visit.accept = (request) => service.accept(request)
      return service
    } catch (error) {
      if (!(error instanceof ConnectRefused)) throw error
      visit.accept = () => {
        throw error
      }
      return undefined
    }
  }

  /** Goes on at once, or after the delay that a fault asks for. */
  #meet(
    visit: Visit | undefined,
    occasion: 'connect' | 'publish',
    goOn: (trouble: MqttTrouble | undefined) => void,
  ): void {
    const trouble = visit?.service === undefined ? undefined : this.#troubleOf(visit.service, occasion)
    if (trouble === undefined || trouble.delayMs === 0) {
      goOn(trouble)
      return
    }
    setTimeout(() => {
      if (visit?.peer.destroyed === false) goOn(trouble)
    }, trouble.delayMs)
  }

  #authenticate(
    client: Client,
    answer: (error: RefusedAnswer | null, accepted: boolean | null) => void,
    trouble: MqttTrouble | undefined,
  ): void {
    const visit = this.#visits.get(client)
    const packet = visit?.connect
    if (visit === undefined || packet === undefined) return
    const request: ConnectRequest = {
      clientId: visit.clientId,
      userName: packet.username ?? '',
      password: packet.password,
      clean: packet.clean === true,
      presented: PresentedChain.of(visit.peer),
      connection: visit.connection,
    }
    try {
      if (trouble?.cut === 'before') throw new ProtocolViolation(asked)
      trouble?.refuse()
      visit.session = visit.accept(request)
      if (trouble?.cut === 'after') throw new ProtocolViolation(asked)
    } catch (error) {
      if (error instanceof ConnectRefused) answer(error, false)
      else if (error instanceof ProtocolViolation) visit.connection.destroy()
      else throw error
      return
    }
    answer(null, true)
  }

  #publish(client: Client | null, packet: PublishPacket): void {
    const visit = client === null ? undefined : this.#visits.get(client)
    if (packet.qos === 2) throw new ProtocolViolation('QoS 2 is not supported.')
    visit?.session?.published({
      topic: packet.topic,
      payload: typeof packet.payload === 'string' ? Buffer.from(packet.payload) : packet.payload,
      retain: packet.retain,
      will: packet === visit.connect?.will,
    })
  }
}

const asked = 'A fault was asked for.'

/** Aedes goes on with what came in one piece with a DISCONNECT, behind it (MQTT 3.1.1, 3.14.4 forbids that). */
function requireOpen(visit: Visit | undefined): void {
  if (visit?.stream.destroyed === true) throw new ProtocolViolation('The connection has ended.')
}

/** Until the CONNECT has come, nobody is let in. */
function refuse(): never {
  throw new ConnectRefused(5, 'No CONNECT has come.')
}

type RefusedAnswer = Error & { returnCode: 2 | 3 | 4 | 5 }

function connectionOf(client: Client, stream: Duplex): DeviceConnection {
  return {
    send: (topic, payload) => {
      if (stream.destroyed) return
      client.publish({ cmd: 'publish', qos: 0, dup: false, retain: false, topic, payload }, () => undefined)
    },
    deliver: (topic, payload, messageId, dup) => {
      if (stream.destroyed) return
      const packet = { cmd: 'publish', qos: 1, dup, retain: false, topic, payload, messageId } as const
      deliverer(client).deliverQoS(packet, () => undefined)
    },
    destroy: () => {
      stream.destroy()
    },
  }
}

/** Aedes chooses packet ids by itself in `publish`, and here takes the one it is given. */
function deliverer(client: Client): { deliverQoS(packet: object, done: () => void): void } {
  return client as unknown as ReturnType<typeof deliverer>
}

function guarded(act: () => void): ProtocolViolation | null {
  try {
    act()
    return null
  } catch (error) {
    if (error instanceof ProtocolViolation) return error
    throw error
  }
}

// A message of 256 KiB with the longest topic; the longest CONNECT is as large.
const largestPacket = (256 + 2 * 64) * 1024

/** Ends a connection as soon as a packet says that it is larger than any can be: aedes would wait for all of it. */
function limitPackets(client: Client, stream: Duplex): void {
  const { _parser: parser } = client as unknown as {
    readonly _parser: { parse: (bytes: Buffer) => number; readonly packet: { readonly length: number } }
  }
  const parse = parser.parse.bind(parser)
  parser.parse = (bytes) => {
    const left = parse(bytes)
    if (parser.packet.length > largestPacket) stream.destroy()
    return left
  }
}

/** Azure grants QoS 1 where 2 was asked for. Aedes decides on the packet as parsed, so it is changed there. */
function grantAtMostQos1(client: Client): void {
  const { _parser: parser } = client as unknown as { readonly _parser: EventEmitter }
  parser.prependListener('packet', (packet: SubscribePacket | { readonly cmd: 'other' }) => {
    if (packet.cmd !== 'subscribe') return
    for (const subscription of packet.subscriptions as Subscription[]) {
      if (subscription.qos === 2) subscription.qos = 1
    }
  })
}
