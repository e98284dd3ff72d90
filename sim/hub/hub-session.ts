import { ServiceError } from '../errors.ts'
import {
  ProtocolViolation,
  type DeviceConnection,
  type MqttSession,
  type Publication,
  type StoredSubscription,
} from '../mqtt/session.ts'
import type { PresentedCredentials } from './authentication.ts'
import type { JsonObject } from './json.ts'
import type { SessionStore } from './session-store.ts'
import {
  findSubscription,
  parseSubscription,
  parseTopic,
  type DeviceSubscription,
  type Speaker,
} from './topics.ts'
import { readPatch } from './twin-patch.ts'
import type { Twin } from './twin.ts'

/** What a hub does with what its devices say. */
export interface HubActions {
  opened(session: HubSession): void
  closed(session: HubSession): void
  telemetry(deviceId: string, propertyBag: string, publication: Publication): void
  /** The device hears of this kind of message from now on. */
  listens(deviceId: string, subscription: DeviceSubscription): void
  methodAnswered(deviceId: string, requestId: string, status: number, body: Buffer): void
  twin(deviceId: string): Twin
  /** @returns the new version of the reported properties */
  twinReported(deviceId: string, patch: JsonObject): number
  certificateRequested(deviceId: string, requestId: string, body: Buffer): void
}

/** Who is at the other end of a connection. */
export interface SessionOwner extends Speaker {
  readonly credentials: PresentedCredentials
}

/** One accepted connection of a device. */
export class HubSession implements MqttSession {
  readonly deviceId: string
  /** What the device was let in by. */
  readonly credentials: PresentedCredentials
  /** Why the connection has ended; the device's own doing unless the hub has ended it. */
  endReason = 'The device has gone.'
  readonly #speaker: Speaker
  readonly #connection: DeviceConnection
  readonly #actions: HubActions
  readonly #store: SessionStore
  readonly #subscriptions = new Map<DeviceSubscription, 0 | 1>()
  /** What to do when PUBACK comes, by packet id. */
  readonly #unacknowledged = new Map<number, () => void>()
  #lastPacketId = 0
  #open = false

  constructor(owner: SessionOwner, connection: DeviceConnection, actions: HubActions, store: SessionStore) {
    this.deviceId = owner.deviceId
    this.credentials = owner.credentials
    this.#speaker = owner
    this.#connection = connection
    this.#actions = actions
    this.#store = store
  }

  /** Whether the device was told that it is in. */
  get wasOpen(): boolean {
    return this.#open
  }

  has(subscription: DeviceSubscription): boolean {
    return this.#subscriptions.has(subscription)
  }

  /** The QoS granted for a subscription; `undefined` when there is none, or the device is not yet in. */
  qosOf(subscription: DeviceSubscription): 0 | 1 | undefined {
    return this.#open ? this.#subscriptions.get(subscription) : undefined
  }

  send(topic: string, body: string): void {
    this.#connection.send(topic, body)
  }

  /** Sends with the QoS of the subscription; `acknowledged` is called with PUBACK, at QoS 0 at once. */
  deliver(
    subscription: DeviceSubscription,
    topic: string,
    body: Buffer | string,
    acknowledged: () => void,
    again = false,
  ): void {
    if (this.qosOf(subscription) !== 1) {
      this.#connection.send(topic, body)
      acknowledged()
      return
    }
    do this.#lastPacketId = (this.#lastPacketId % 0xffff) + 1
    while (this.#unacknowledged.has(this.#lastPacketId))
    this.#unacknowledged.set(this.#lastPacketId, acknowledged)
    this.#connection.deliver(topic, body, this.#lastPacketId, again)
  }

  end(reason: string): void {
    this.endReason = reason
    this.#connection.destroy()
  }

  stored(): readonly StoredSubscription[] {
    const kept = Object.entries(this.#store.get(this.deviceId)?.subscriptions ?? {})
    // What an earlier connection has subscribed to by a later version of the API means nothing on this one.
    return kept.flatMap(([topic, qos]) =>
      findSubscription(this.#speaker, topic) === undefined ? [] : [{ topic, qos }],
    )
  }

  opened(): void {
    this.#open = true
    this.#actions.opened(this)
    // Subscriptions of an earlier connection are in place already (clean=false).
    for (const subscription of this.#subscriptions.keys()) this.#actions.listens(this.deviceId, subscription)
  }

  closed(): void {
    this.#actions.closed(this)
  }

  acknowledged(packetId: number): void {
    const act = this.#unacknowledged.get(packetId)
    this.#unacknowledged.delete(packetId)
    act?.()
  }

  subscribed(filter: string, qos: 0 | 1): void {
    this.#permit(() => {
      const subscription = parseSubscription(this.#speaker, filter)
      this.#subscriptions.set(subscription, qos)
      this.#store.subscribed(this.deviceId, filter, qos)
    })
  }

  /** SUBACK has gone out, so what is sent now comes after it. */
  listening(filter: string): void {
    const subscription = findSubscription(this.#speaker, filter)
    if (this.#open && subscription !== undefined) this.#actions.listens(this.deviceId, subscription)
  }

  unsubscribed(filter: string): void {
    const subscription = findSubscription(this.#speaker, filter)
    if (subscription === undefined) return
    this.#subscriptions.delete(subscription)
    this.#store.unsubscribed(this.deviceId, filter)
  }

  published(publication: Publication): void {
    this.#permit(() => {
      const { deviceId } = this
      const topic = parseTopic(this.#speaker, publication.topic)
      switch (topic.kind) {
        case 'telemetry':
          this.#actions.telemetry(deviceId, topic.propertyBag, publication)
          return
        case 'methodResponse':
          this.#actions.methodAnswered(deviceId, topic.requestId, topic.status, publication.payload)
          return
        case 'twinGet': {
          const { desired, reported } = this.#actions.twin(deviceId)
          this.#answerTwin(`200/?$rid=${topic.requestId}`, JSON.stringify({ desired, reported }))
          return
        }
        case 'twinReported':
          this.#report(topic.requestId, publication.payload)
          return
        case 'issueCertificate':
          if (topic.requestId !== undefined) {
            this.#actions.certificateRequested(deviceId, topic.requestId, publication.payload)
          }
      }
    })
  }

  #report(requestId: string, body: Buffer): void {
    try {
      const version = this.#actions.twinReported(this.deviceId, readPatch(body))
      this.#answerTwin(`204/?$rid=${requestId}&$version=${version}`, '')
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const { status, errorCode, message } = error
      this.#answerTwin(`${status}/?$rid=${requestId}`, JSON.stringify({ errorCode, message }))
    }
  }

  #answerTwin(topic: string, body: string): void {
    if (this.has('twinResponses')) this.send(`$iothub/twin/res/${topic}`, body)
  }

  #permit(act: () => void): void {
    try {
      act()
    } catch (error) {
      if (error instanceof ProtocolViolation) this.endReason = error.message
      throw error
    }
  }
}
