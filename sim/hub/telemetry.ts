import { ProtocolViolation, type Publication } from '../mqtt/session.ts'
import { parsePropertyBag, type SystemProperties } from './property-bag.ts'

/** A message as it arrived at a hub. */
export interface TelemetryMessage {
  /** Host name of the hub. */
  readonly hub: string
  readonly deviceId: string
  readonly body: Buffer
  /** Application properties. */
  readonly properties: Readonly<Record<string, string>>
  readonly systemProperties: SystemProperties
  /** Counts the messages of one hub, from 1. */
  readonly sequence: number
  /** Milliseconds since 1970. */
  readonly at: number
}

/** The largest message that a hub takes, 256 KiB. */
export const largestMessage = 256 * 1024

/** All messages that one hub has received, in order. A message sent twice stands here twice. */
export class TelemetryLog {
  readonly messages: TelemetryMessage[] = []
  readonly #hub: string
  readonly #now: () => number
  #sequence = 0

  constructor(hub: string, now: () => number) {
    this.#hub = hub
    this.#now = now
  }

  /** Takes a message. @throws ProtocolViolation when it is too large or its property bag cannot be read */
  receive(deviceId: string, propertyBag: string, publication: Publication): TelemetryMessage {
    if (publication.payload.length > largestMessage) {
      throw new ProtocolViolation(
        `A message has at most ${largestMessage} bytes, not ${publication.payload.length}.`,
      )
    }
    const { properties, systemProperties } = read(propertyBag)
    this.#sequence += 1
    const message: TelemetryMessage = {
      hub: this.#hub,
      deviceId,
      body: publication.payload,
      properties: {
        ...properties,
        // Nothing is retained; that it was asked for is passed on.
        ...(publication.retain ? { 'mqtt-retain': 'true' } : {}),
        ...(publication.will ? { 'iothub-MessageType': 'Will' } : {}),
      },
      systemProperties,
      sequence: this.#sequence,
      at: this.#now(),
    }
    this.messages.push(message)
    return message
  }

  clear(): void {
    this.messages.length = 0
  }
}

function read(propertyBag: string): ReturnType<typeof parsePropertyBag> {
  try {
    return parsePropertyBag(propertyBag)
  } catch (cause) {
    if (!(cause instanceof URIError)) throw cause
    throw new ProtocolViolation(
      `"${propertyBag}" is no property bag: expected percent-encoded key=value pairs.`,
    )
  }
}
