import mqtt, { type IClientOptions, type Packet } from 'mqtt'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { connackRefusal } from './raw-cause.ts'
import type { SecureStream } from './secure-stream.ts'
import { nameOf } from './service.ts'

/** The longest time a timer can have. */
const longestTimeoutMs = 2 ** 31 - 1

/** What `MqttBase` of the official SDKs asks of the `mqtt` package. */
export interface MqttProvider {
  connect(uri: string, options: IClientOptions): mqtt.MqttClient
}

/** What the hub or DPS said when it accepted the connection. */
export interface Accepted {
  /** The server kept the subscriptions of an earlier connection. */
  readonly sessionPresent: boolean
}

/**
 * Gives one open stream to `mqtt`, in place of the connection that `mqtt` would open, and records on the stream why
 * the conversation failed: the CONNACK code, a refused subscription, what is not MQTT. One provider serves one
 * connection, so that no reconnection of an SDK can happen behind the state machine's back.
 *
 * @example `new MqttBase(mqttOver(stream))`
 */
export function mqttOver(stream: SecureStream, onAccepted?: (accepted: Accepted) => void): MqttProvider {
  let used = false
  return {
    connect(_uri, options) {
      if (used) throw new Error('One MQTT client is one connection: make a new one for each attempt.')
      used = true
      // The stream is encrypted already; certificate and key placeholder have no business in `mqtt`.
      const { key: _key, cert: _cert, ...rest } = options
      const client = new mqtt.MqttClient(() => stream.socket, {
        ...rest,
        // Whoever owns the stream knows since when it waits, and watches; this timer goes with the stream.
        connectTimeout: longestTimeoutMs,
      })
      client.on('packetreceive', (packet: Packet) => {
        if (packet.cmd === 'connack') {
          const returnCode = packet.returnCode ?? 0
          if (returnCode === 0) onAccepted?.({ sessionPresent: packet.sessionPresent })
          else stream.fail(connackRefusal(returnCode, stream.service))
        } else if (packet.cmd === 'suback' && packet.granted.some((granted) => granted === 0x80)) {
          stream.fail(subscriptionRefused(stream))
        }
      })
      client.on('error', (error) => {
        // A socket's own error and a CONNACK's were recorded before this one; what is left is the parser's.
        stream.fail(notMqtt(stream, error))
      })
      return client
    },
  }
}

function subscriptionRefused({ service }: SecureStream): LeafkeeperError {
  return new LeafkeeperError(service.refused, {
    reason: 'SUBACK 128',
    message: `${nameOf(service)} refused a subscription.`,
  })
}

function notMqtt({ service }: SecureStream, error: unknown): LeafkeeperError {
  return new LeafkeeperError('PROTOCOL_ERROR', {
    cause: error,
    message: `${nameOf(service)} sent something that is not MQTT: ${messageOf(error)}.`,
  })
}
