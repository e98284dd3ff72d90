import type { Next } from '../faults/next.ts'
import {
  ConnectRefused,
  ProtocolViolation,
  type ConnectRequest,
  type DeviceConnection,
  type MqttService,
  type MqttSession,
  type Publication,
} from '../mqtt/session.ts'
import { asciiJson, type Answer } from './answer.ts'
import { parseDpsUserName, parseRequest, type DeviceRequest, type DpsUserName } from './request.ts'
import type { PresentedChain } from '../pki/presented-chain.ts'

/** Who asks: nothing in it has been checked yet. */
export interface Caller {
  readonly userName: DpsUserName
  readonly clientId: string
  readonly presented: PresentedChain
  /** A shared access signature, where one was sent. */
  readonly token: string | undefined
  readonly over: 'mqtt' | 'https'
}

/** Answers a request; every refusal is an answer too. */
export type Responder = (request: DeviceRequest, caller: Caller) => Answer

/** At which point a connection is dropped. */
export type DropPoint = 'connect' | 'request' | 'answer'

const resultFilter = '$dps/registrations/res/#'

/**
 * DPS as devices see it over MQTT. It lets everyone connect and says what it thinks of them in its answers, as the
 * real one does: the SDK cannot cope with a connection that ends in the middle.
 */
export class DpsDeviceFace implements MqttService {
  readonly name = 'dps'
  readonly keepsSessions = false
  readonly #respond: Responder
  readonly #drops: Next<DropPoint>

  constructor(respond: Responder, drops: Next<DropPoint>) {
    this.#respond = respond
    this.#drops = drops
  }

  accept({ userName, clientId, password, presented, connection }: ConnectRequest): MqttSession {
    if (this.#drops.takeIf((point) => point === 'connect') !== undefined) {
      throw new ProtocolViolation('A fault was asked for.')
    }
    const parsed = parseDpsUserName(userName)
    if (parsed === undefined) throw new ConnectRefused(4, `"${userName}" is no user name for DPS.`)
    const token = password?.toString()
    return new DpsSession(
      { userName: parsed, clientId, presented, token, over: 'mqtt' },
      connection,
      this.#respond,
      this.#drops,
    )
  }
}

class DpsSession implements MqttSession {
  readonly #caller: Caller
  readonly #connection: DeviceConnection
  readonly #respond: Responder
  readonly #drops: Next<DropPoint>
  #listens = false

  constructor(caller: Caller, connection: DeviceConnection, respond: Responder, drops: Next<DropPoint>) {
    this.#caller = caller
    this.#connection = connection
    this.#respond = respond
    this.#drops = drops
  }

  opened(): void {
    // Nothing to do before the device asks.
  }

  closed(): void {
    // Operations live on: a device may poll on its next connection.
  }

  subscribed(filter: string): void {
    if (filter !== resultFilter)
      throw new ProtocolViolation(`Expected a subscription to "${resultFilter}", not "${filter}".`)
    this.#listens = true
  }

  unsubscribed(filter: string): void {
    if (filter === resultFilter) this.#listens = false
  }

  published({ topic, payload }: Publication): void {
    const request = parseRequest(topic, payload)
    const drop = this.#drops.takeIf((point) => point !== 'connect')
    if (drop === 'request') throw new ProtocolViolation('A fault was asked for.')
    const { status, retryAfter, body } = this.#respond(request, this.#caller)
    if (drop === 'answer') throw new ProtocolViolation('A fault was asked for.')
    if (!this.#listens) return
    const delay = retryAfter === undefined ? '' : `&retry-after=${retryAfter}`
    this.#connection.send(
      `$dps/registrations/res/${status}/?$rid=${request.requestId}${delay}`,
      asciiJson(body),
    )
  }
}
