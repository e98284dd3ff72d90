import { ServiceError } from '../errors.ts'
import {
  ProtocolViolation,
  type DeviceConnection,
  type MqttSession,
  type Publication,
} from '../mqtt/session.ts'
import type { PresentedChain } from '../pki/presented-chain.ts'
import { findSubscription, parseSubscription, parseTopic, type DeviceSubscription } from './topics.ts'
import { readPatch, type JsonObject, type Twin } from './twin.ts'

/** What a hub does with what its devices say. */
export interface HubActions {
  opened(session: HubSession): void
  closed(session: HubSession): void
  telemetry(deviceId: string, propertyBag: string, publication: Publication): void
  listensForMethods(deviceId: string): void
  methodAnswered(deviceId: string, requestId: string, status: number, body: Buffer): void
  twin(deviceId: string): Twin
  /** @returns the new version of the reported properties */
  twinReported(deviceId: string, patch: JsonObject): number
}

/** One accepted connection of a device. */
export class HubSession implements MqttSession {
  readonly deviceId: string
  readonly presented: PresentedChain
  /** Why the connection has ended; the device's own doing unless the hub has ended it. */
  endReason = 'The device has gone.'
  readonly #connection: DeviceConnection
  readonly #actions: HubActions
  readonly #subscriptions = new Set<DeviceSubscription>()
  #open = false

  constructor(
    deviceId: string,
    presented: PresentedChain,
    connection: DeviceConnection,
    actions: HubActions,
  ) {
    this.deviceId = deviceId
    this.presented = presented
    this.#connection = connection
    this.#actions = actions
  }

  /** Whether the device was told that it is in. */
  get wasOpen(): boolean {
    return this.#open
  }

  has(subscription: DeviceSubscription): boolean {
    return this.#subscriptions.has(subscription)
  }

  send(topic: string, body: string): void {
    this.#connection.send(topic, body)
  }

  end(reason: string): void {
    this.endReason = reason
    this.#connection.destroy()
  }

  opened(): void {
    this.#open = true
    this.#actions.opened(this)
    // Subscriptions of an earlier connection are in place already (clean=false).
    if (this.has('methods')) this.#actions.listensForMethods(this.deviceId)
  }

  closed(): void {
    this.#actions.closed(this)
  }

  subscribed(filter: string): void {
    this.#permit(() => {
      const subscription = parseSubscription(this.deviceId, filter)
      this.#subscriptions.add(subscription)
      if (subscription === 'methods') this.#actions.listensForMethods(this.deviceId)
    })
  }

  unsubscribed(filter: string): void {
    const subscription = findSubscription(this.deviceId, filter)
    if (subscription !== undefined) this.#subscriptions.delete(subscription)
  }

  published(publication: Publication): void {
    this.#permit(() => {
      const topic = parseTopic(this.deviceId, publication.topic)
      switch (topic.kind) {
        case 'telemetry':
          this.#actions.telemetry(this.deviceId, topic.propertyBag, publication)
          return
        case 'methodResponse':
          this.#actions.methodAnswered(this.deviceId, topic.requestId, topic.status, publication.payload)
          return
        case 'twinGet':
          this.#answerTwin(`200/?$rid=${topic.requestId}`, JSON.stringify(this.#actions.twin(this.deviceId)))
          return
        case 'twinReported':
          this.#report(topic.requestId, publication.payload)
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
