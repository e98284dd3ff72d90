import azureCommon from 'azure-iot-common'
import azureDevice from 'azure-iot-device'
import azureDeviceMqtt from 'azure-iot-device-mqtt'
import { messageOf } from '../errors.ts'
import type { DeviceCredential } from '../transport/credential.ts'
import { mqttOver } from '../transport/mqtt-provider.ts'
import type { NetworkOptions } from '../transport/network.ts'
import { openSecureStream } from '../transport/open-secure-stream.ts'
import type { SecureStream } from '../transport/secure-stream.ts'
import { CredentialMailbox } from './credential-mailbox.ts'
import { HubMqttBase } from './hub-mqtt-base.ts'
import type {
  HubConnection,
  HubTarget,
  HubTransport,
  MethodHandler,
  PreparedHubConnection,
} from './hub-transport.ts'
import { answerTo, type MethodCall } from './method-call.ts'
import { MqttTwin } from './mqtt-twin.ts'
import { MqttHubConnection } from './mqtt-hub-connection.ts'

const defaultAnswerTimeoutMs = 30_000

/** How to reach IoT hubs. */
export interface HubOptions extends NetworkOptions {
  /** Added to the user agent that the hub logs. */
  readonly productInfo?: string
}

/**
 * IoT Hub over MQTT with an X.509 credential, through the official device client. Each connection has a client of its
 * own, with its retries off.
 */
export function hubOverMqtt(options: HubOptions = {}): HubTransport {
  return {
    async prepare(target, credential, signal) {
      const service = {
        title: 'IoT Hub',
        host: target.hub,
        unauthorized: 'HUB_UNAUTHORIZED',
        unavailable: 'HUB_UNAVAILABLE',
        refused: 'HUB_REFUSED',
      } as const
      // The client looks up the operating system for its user agent before it connects, which takes tens of
      // milliseconds once a process. Here that runs while TLS opens, and not between two connections of a roll.
      const [stream] = await Promise.all([
        openSecureStream(service, credential, options, signal),
        azureDevice.getUserAgentString(),
      ])
      return new PreparedMqttConnection(stream, target, credential, options)
    },
  }
}

/** How long an answer may take to leave, in milliseconds: what it leads to is not put off by a stalled socket. */
const answerLeavesWithinMs = 1_000

class PreparedMqttConnection implements PreparedHubConnection {
  readonly #stream: SecureStream
  readonly #client: azureDevice.Client
  readonly #transport: azureDeviceMqtt.Mqtt
  readonly #answerTimeoutMs: number
  readonly #credentials: CredentialMailbox
  readonly #opened: Promise<unknown>
  #onMethod: MethodHandler | undefined
  #sessionPresent = false

  constructor(
    stream: SecureStream,
    { hub: host, deviceId, apiVersion }: HubTarget,
    credential: DeviceCredential,
    options: HubOptions,
  ) {
    this.#stream = stream
    this.#answerTimeoutMs = options.answerTimeoutMs ?? defaultAnswerTimeoutMs
    const provider = mqttOver(stream, ({ sessionPresent }) => {
      this.#sessionPresent = sessionPresent
    })
    const authentication = new azureDevice.X509AuthenticationProvider({
      host,
      deviceId,
      x509: { cert: credential.chain, key: credential.keyUri },
    })
    const base = new HubMqttBase(
      provider,
      {
        onCall: (call) => void this.#answer(call),
        onCredentialAnswer: (answer) => this.#credentials.receive(answer),
      },
      apiVersion,
    )
    this.#credentials = new CredentialMailbox(stream, base, deviceId, this.#answerTimeoutMs)
    this.#transport = new azureDeviceMqtt.Mqtt(authentication, base)
    if (options.productInfo !== undefined) this.#transport.setOptions({ productInfo: options.productInfo })
    this.#client = new azureDevice.Client(this.#transport)
    this.#client.setRetryPolicy(new azureCommon.NoRetry())
    // The client does all its work before CONNECT now; the packet stays in the corked socket until it is wanted.
    stream.socket.cork()
    this.#opened = this.#client.open()
    this.#opened.catch(() => {
      // Whoever connects is told; until then the stream keeps the cause.
    })
  }

  async connect(onMethod: MethodHandler, signal: AbortSignal): Promise<HubConnection> {
    const stop = (): void => this.#stream.discard()
    signal.addEventListener('abort', stop)
    try {
      signal.throwIfAborted()
      this.#onMethod = onMethod
      const answered = this.#stream.expect('CONNECT', this.#answerTimeoutMs)
      this.#stream.socket.uncork()
      await this.#stream.until(this.#opened)
      answered()
      const subscribed = this.#stream.until(this.#subscribe())
      if (this.#sessionPresent) {
        // The hub kept the subscription of the connection before, so the round trip need not be waited for; a failure
        // ends the stream.
        subscribed.catch(() => undefined)
      } else {
        await subscribed
        // The client takes a refused subscription for a granted one.
        if (this.#stream.failure !== undefined) throw this.#stream.failure
      }
      const channels = {
        credentials: this.#credentials,
        twin: new MqttTwin(this.#stream, this.#transport, this.#answerTimeoutMs),
      }
      return new MqttHubConnection(this.#stream, this.#client, channels, this.#answerTimeoutMs)
    } catch (error) {
      this.#stream.discard()
      throw signal.aborted ? signal.reason : error
    } finally {
      signal.removeEventListener('abort', stop)
    }
  }

  discard(): void {
    this.#stream.discard()
  }

  #subscribe(): Promise<void> {
    const answered = this.#stream.expect('SUBSCRIBE', this.#answerTimeoutMs)
    return new Promise((resolve, reject) => {
      this.#transport.enableMethods((error?: Error | null) => {
        answered()
        if (error === undefined || error === null) resolve()
        else reject(error)
      })
    })
  }

  /** Answers a call, and runs what it leads to once the answer has left. Never rejects. */
  async #answer(call: MethodCall): Promise<void> {
    const handler = this.#onMethod
    if (handler === undefined) return
    const { status, payload, afterwards } = await answerTo(call, handler)
    const response = new azureDevice.DeviceMethodResponse(call.requestId, this.#transport)
    await new Promise<void>((resolve) => {
      response.send(status, payload, () => resolve())
    })
    // mqtt reports a packet as sent when it is in the socket's buffer. An empty write is done when all before it is,
    // or when the socket is gone: then the call was accepted all the same, so it must not be forgotten.
    await new Promise<void>((resolve) => {
      const limit = setTimeout(resolve, answerLeavesWithinMs)
      this.#stream.socket.write(Buffer.alloc(0), () => {
        clearTimeout(limit)
        resolve()
      })
    })
    try {
      afterwards?.()
    } catch (error) {
      // It was answered already, so there is nobody to tell but whoever watches the process's warnings.
      process.emitWarning(`What direct method ${call.name} does after its answer failed: ${messageOf(error)}`)
    }
  }
}
