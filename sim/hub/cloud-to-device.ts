import { randomUUID } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import { formatPropertyBag, type SystemProperties } from './property-bag.ts'

/** A message from the cloud to a device, as a service sends it. */
export interface CloudMessage {
  readonly body: string | Buffer
  /** Made up when it is left out. */
  readonly messageId?: string
  readonly properties?: Readonly<Record<string, string>>
  readonly systemProperties?: SystemProperties
  /** How long it may wait for the device. Default one hour. */
  readonly timeToLiveMs?: number
}

/** A message that waits: JSON. */
export interface QueuedMessage {
  readonly messageId: string
  /** Base64. */
  readonly body: string
  readonly propertyBag: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  readonly deliveryCount: number
}

/** How the life of a message ended. */
export type CloudMessageOutcome = 'completed' | 'expired' | 'deliveryCountExceeded' | 'purged'

/** The way to the devices of a hub, for messages. */
export interface CloudMessageChannel {
  /** The QoS of the device's subscription; `undefined` when it is not connected or has none. */
  subscribed(deviceId: string): 0 | 1 | undefined
  /** Sends; `acknowledged` is called with PUBACK, at QoS 0 at once. */
  deliver(deviceId: string, topic: string, body: Buffer, again: boolean, acknowledged: () => void): void
  ended(deviceId: string, messageId: string, outcome: CloudMessageOutcome): void
}

// Azure's defaults for a queue.
const longestQueue = 50
const mostDeliveries = 10
const timeToLive = 60 * 60 * 1000

/**
 * The cloud-to-device queues of one hub. A message is locked while it is on its way, completed by PUBACK, and goes
 * back into its place when the connection ends before that.
 */
export class CloudToDevice {
  readonly #queues = new Map<string, QueuedMessage[]>()
  /** Message ids that are on their way, by device. */
  readonly #locked = new Map<string, Set<string>>()
  readonly #channel: CloudMessageChannel
  readonly #now: () => number

  /** @param now - milliseconds since 1970 */
  constructor(now: () => number, channel: CloudMessageChannel) {
    this.#now = now
    this.#channel = channel
  }

  /** @returns the message id @throws ServiceError 403 when fifty messages wait already */
  send(deviceId: string, message: CloudMessage): string {
    const queue = this.#live(deviceId)
    if (queue.length >= longestQueue) {
      throw new ServiceError(
        403,
        403004,
        `The queue of "${deviceId}" holds ${longestQueue} messages, its most.`,
      )
    }
    const messageId = message.messageId ?? randomUUID()
    queue.push({
      messageId,
      body: Buffer.from(message.body).toString('base64'),
      propertyBag: formatPropertyBag(message.properties ?? {}, {
        to: `/devices/${deviceId}/messages/deviceBound`,
        ...message.systemProperties,
        messageId,
      }),
      expiresAt: this.#now() + (message.timeToLiveMs ?? timeToLive),
      deliveryCount: 0,
    })
    this.#queues.set(deviceId, queue)
    this.deliver(deviceId)
    return messageId
  }

  /** How many messages wait or are on their way. */
  count(deviceId: string): number {
    return this.#live(deviceId).length
  }

  /** Sends what waits, in order, if the device listens. */
  deliver(deviceId: string): void {
    const qos = this.#channel.subscribed(deviceId)
    if (qos === undefined) return
    const locked = this.#locked.get(deviceId) ?? new Set()
    this.#locked.set(deviceId, locked)
    for (const message of this.#live(deviceId).filter(({ messageId }) => !locked.has(messageId))) {
      const { messageId, deliveryCount } = message
      if (deliveryCount >= mostDeliveries) {
        this.#end(deviceId, messageId, 'deliveryCountExceeded')
        continue
      }
      locked.add(messageId)
      this.#replace(deviceId, { ...message, deliveryCount: deliveryCount + 1 })
      this.#channel.deliver(
        deviceId,
        `devices/${deviceId}/messages/devicebound/${message.propertyBag}`,
        Buffer.from(message.body, 'base64'),
        deliveryCount > 0,
        () => this.#end(deviceId, messageId, 'completed'),
      )
    }
  }

  /** The connection has ended: what was on its way waits again. */
  disconnected(deviceId: string): void {
    this.#locked.delete(deviceId)
  }

  /** Empties a queue. @returns how many messages were in it */
  purge(deviceId: string): number {
    const queue = this.#live(deviceId)
    for (const { messageId } of queue) this.#end(deviceId, messageId, 'purged')
    return queue.length
  }

  delete(deviceId: string): void {
    this.#queues.delete(deviceId)
    this.#locked.delete(deviceId)
  }

  snapshot(): Readonly<Record<string, readonly QueuedMessage[]>> {
    return Object.fromEntries(this.#queues)
  }

  restore(snapshot: Readonly<Record<string, readonly QueuedMessage[]>>): void {
    this.#queues.clear()
    this.#locked.clear()
    for (const [deviceId, queue] of Object.entries(snapshot)) this.#queues.set(deviceId, [...queue])
  }

  /** The queue without what has expired. */
  #live(deviceId: string): QueuedMessage[] {
    const queue = this.#queues.get(deviceId) ?? []
    for (const { messageId, expiresAt } of [...queue]) {
      const isLocked = this.#locked.get(deviceId)?.has(messageId) === true
      if (!isLocked && expiresAt <= this.#now()) this.#end(deviceId, messageId, 'expired')
    }
    return [...(this.#queues.get(deviceId) ?? [])]
  }

  #replace(deviceId: string, message: QueuedMessage): void {
    const queue = this.#queues.get(deviceId) ?? []
    this.#queues.set(
      deviceId,
      queue.map((other) => (other.messageId === message.messageId ? message : other)),
    )
  }

  #end(deviceId: string, messageId: string, outcome: CloudMessageOutcome): void {
    const queue = this.#queues.get(deviceId) ?? []
    const left = queue.filter((message) => message.messageId !== messageId)
    if (left.length === queue.length) return
    if (left.length === 0) this.#queues.delete(deviceId)
    else this.#queues.set(deviceId, left)
    this.#locked.get(deviceId)?.delete(messageId)
    this.#channel.ended(deviceId, messageId, outcome)
  }
}
