import type azureDeviceMqtt from 'azure-iot-device-mqtt'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { SecureStream } from '../transport/secure-stream.ts'
import { nameOf } from '../transport/service.ts'
import type { TwinChannel, TwinProperties } from '../twin-channel.ts'

type Answer = (error?: Error | null, result?: unknown) => void

/**
 * The twin through the official transport. A hub that does not answer here, as one without twins may, is no reason to
 * give up a connection that serves otherwise.
 */
export class MqttTwin implements TwinChannel {
  readonly #stream: SecureStream
  readonly #transport: azureDeviceMqtt.Mqtt
  readonly #answerTimeoutMs: number

  constructor(stream: SecureStream, transport: azureDeviceMqtt.Mqtt, answerTimeoutMs: number) {
    this.#stream = stream
    this.#transport = transport
    this.#answerTimeoutMs = answerTimeoutMs
  }

  async read(
    onDesired: (patch: TwinProperties) => void,
  ): Promise<{ readonly desired: TwinProperties; readonly reported: TwinProperties }> {
    this.#transport.removeAllListeners('twinDesiredPropertiesUpdate')
    this.#transport.on('twinDesiredPropertiesUpdate', onDesired)
    await this.#answered('the subscription to its twin', (done) => {
      this.#transport.enableTwinDesiredPropertiesUpdates(done)
    })
    const twin = await this.#answered('the question for its twin', (done) => {
      this.#transport.getTwin(done)
    })
    const { desired, reported } = propertiesOf(twin)
    return { desired: propertiesOf(desired), reported: propertiesOf(reported) }
  }

  async report(patch: TwinProperties): Promise<void> {
    await this.#answered('the report to its twin', (done) => {
      this.#transport.updateTwinReportedProperties(patch, done)
    })
  }

  /** What the hub answers, as long as the connection lives. */
  async #answered(what: string, ask: (done: Answer) => void): Promise<unknown> {
    // Once its connection is gone, the transport would open another one by itself.
    if (this.#stream.isOver) throw this.#over(what)
    let limit: NodeJS.Timeout | undefined
    const answer = new Promise((resolve, reject) => {
      limit = setTimeout(
        () => reject(this.#failed('TWIN_UNAVAILABLE', what, 'no answer')),
        this.#answerTimeoutMs,
      )
      ask((error, result) => {
        if (error === undefined || error === null) resolve(result)
        else reject(this.#failed('TWIN_UNAVAILABLE', what, messageOf(error)))
      })
    })
    const over = this.#stream.ended.then(() => {
      throw this.#over(what)
    })
    return Promise.race([answer, over]).finally(() => {
      clearTimeout(limit)
    })
  }

  #over(what: string): LeafkeeperError {
    return this.#failed('HUB_CONNECTION_LOST', what, 'the connection has ended')
  }

  #failed(code: 'TWIN_UNAVAILABLE' | 'HUB_CONNECTION_LOST', what: string, why: string): LeafkeeperError {
    return new LeafkeeperError(code, {
      message: `${nameOf(this.#stream.service)} did not take ${what}: ${why}.`,
    })
  }
}

function propertiesOf(value: unknown): TwinProperties {
  return typeof value === 'object' && value !== null ? (value as TwinProperties) : {}
}
