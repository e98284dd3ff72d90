import type azureDevice from 'azure-iot-device'
import type { CredentialChannel } from '../credential-channel.ts'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { SecureStream } from '../transport/secure-stream.ts'
import { nameOf } from '../transport/service.ts'
import type { TwinChannel } from '../twin-channel.ts'
import type { DeviceMessage, HubConnection } from './hub-transport.ts'
import { telemetryOf } from './telemetry-message.ts'

/** What the official client calls a message it will not send. */
const refusedByClient = new Set(['MessageTooLargeError', 'ArgumentError', 'FormatError'])

/** A connection through the official client. It ends when its stream ends, which the client would not notice. */
export class MqttHubConnection implements HubConnection {
  readonly ended: Promise<LeafkeeperError | undefined>
  readonly credentials: CredentialChannel
  readonly twin: TwinChannel
  readonly #stream: SecureStream
  readonly #client: azureDevice.Client
  readonly #answerTimeoutMs: number
  /** Rejects each send() that waits for its acknowledgement. */
  readonly #inFlight = new Set<(error: LeafkeeperError) => void>()

  constructor(
    stream: SecureStream,
    client: azureDevice.Client,
    { credentials, twin }: { readonly credentials: CredentialChannel; readonly twin: TwinChannel },
    answerTimeoutMs: number,
  ) {
    this.#stream = stream
    this.#client = client
    this.credentials = credentials
    this.twin = twin
    this.#answerTimeoutMs = answerTimeoutMs
    this.ended = stream.ended.then((cause) => {
      const error = this.#lost(cause)
      for (const reject of this.#inFlight) reject(error)
      this.#inFlight.clear()
      return cause === undefined ? undefined : error
    })
  }

  send(message: DeviceMessage & { readonly messageId: string }): Promise<void> {
    return new Promise((resolve, reject) => {
      const telemetry = telemetryOf(message)
      // Once its connection is gone, the client would open another one by itself.
      if (this.#stream.isOver) throw this.#lost(this.#stream.failure)
      const answered = this.#stream.expect('a message with PUBACK', this.#answerTimeoutMs)
      this.#inFlight.add(reject)
      this.#client.sendEvent(telemetry, (error?: Error | null) => {
        answered()
        if (error === undefined || error === null) {
          this.#inFlight.delete(reject)
          resolve()
        } else if (refusedByClient.has(error.name)) {
          this.#inFlight.delete(reject)
          reject(new LeafkeeperError('MESSAGE_INVALID', { cause: error, message: `${error.message}.` }))
        } else {
          // Whatever it is, this message can only be sent again on another connection; `ended` rejects it.
          this.#stream.fail(this.#unexplained(error))
        }
      })
    })
  }

  async close(): Promise<void> {
    // The client waits for what is in flight, says DISCONNECT and ends the socket; the stream bounds the time.
    await this.#stream.close(() => {
      this.#client.close(() => {
        // The stream tells when it is closed.
      })
    })
  }

  #lost(cause: LeafkeeperError | undefined): LeafkeeperError {
    const why = cause === undefined ? 'it was closed on this side' : (cause.reason ?? cause.code)
    return new LeafkeeperError('HUB_CONNECTION_LOST', {
      message: `The connection to ${nameOf(this.#stream.service)} ended: ${why}.`,
      ...(cause === undefined ? {} : { cause }),
      ...(cause?.reason === undefined ? {} : { reason: cause.reason }),
    })
  }

  #unexplained(error: Error): LeafkeeperError {
    return new LeafkeeperError('PROTOCOL_ERROR', {
      cause: error,
      message: `A message to ${nameOf(this.#stream.service)} failed: ${messageOf(error)}.`,
    })
  }
}
