import type { CredentialAnswer } from '../credential-channel.ts'
import { GuardedMqttBase, type IncomingMessage } from '../transport/guarded-mqtt-base.ts'
import type { MqttProvider } from '../transport/mqtt-provider.ts'
import { readCredentialAnswer } from './credential-answer.ts'
import { twinMessage } from './twin-message.ts'
import { readMethodCall, type MethodCall } from './method-call.ts'

/** Who takes what the hub sends. */
export interface HubMessageHandlers {
  readonly onCall: (call: MethodCall) => void
  readonly onCredentialAnswer: (answer: CredentialAnswer) => void
}

type Config = Parameters<GuardedMqttBase['connect']>[0]

/**
 * Takes what comes from a hub before the official transport does: that one knows methods by name only, so it cannot
 * answer a name nobody registered, it throws on a topic without a name, which ends the process, and it does not know
 * the credentials topics at all.
 *
 * It is shown the twin's messages, and no others: nothing else is subscribed to, but a session that the hub kept for another
 * program of the same device may still bring some.
 */
export class HubMqttBase extends GuardedMqttBase {
  readonly #handlers: HubMessageHandlers
  readonly #apiVersion: string | undefined

  /** @param apiVersion The version of the hub's MQTT API; the official client's own where it is left out. */
  constructor(provider: MqttProvider, handlers: HubMessageHandlers, apiVersion?: string) {
    super(provider)
    this.#handlers = handlers
    this.#apiVersion = apiVersion
  }

  override connect(config: Config, done: (error?: Error, result?: unknown) => void): void {
    super.connect(this.#apiVersion === undefined ? config : withApiVersion(config, this.#apiVersion), done)
  }

  protected override admit(message: IncomingMessage): IncomingMessage | undefined {
    const call = readMethodCall(message)
    const answer = readCredentialAnswer(message)
    if (call !== undefined) this.#handlers.onCall(call)
    if (answer !== undefined) this.#handlers.onCredentialAnswer(answer)
    return twinMessage(message)
  }
}

/** The client's version is one for the whole process; this one is this connection's. */
function withApiVersion(config: Config, apiVersion: string): Config {
  const { username } = config
  return { ...config, username: username.replace(/(\bapi-version=)[^&]*/, `$1${apiVersion}`) }
}
