import azureMqttBase from 'azure-iot-mqtt-base'

/** An MQTT message on its way to an SDK. */
export interface IncomingMessage {
  readonly topic: string
  readonly payload: Buffer
}

/**
 * The `MqttBase` that the official transports are given. It lets through only what they can stand:
 *
 * - Messages pass {@link admit} first, since the SDKs throw from inside an event handler, which ends the process, on
 *   topics and bodies they do not expect.
 * - The end of the connection is not passed on: the SDKs answer it with a second failure that nobody can catch, or
 *   with a reconnection. Whoever owns the stream watches the stream.
 */
export abstract class GuardedMqttBase extends azureMqttBase.MqttBase {
  /** Decides what an SDK may see of a message: the message, another one in its place, or nothing. Must not throw. */
  protected abstract admit(message: IncomingMessage): IncomingMessage | undefined

  override emit(event: string | symbol, ...args: unknown[]): boolean {
    if (event === 'error') return true
    if (event !== 'message') return super.emit(event, ...args)
    const [topic, payload] = args
    if (typeof topic !== 'string' || !Buffer.isBuffer(payload)) return false
    const admitted = this.admit({ topic, payload })
    return admitted !== undefined && super.emit(event, admitted.topic, admitted.payload)
  }
}
