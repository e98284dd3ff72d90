import { GuardedMqttBase, type IncomingMessage } from '../transport/guarded-mqtt-base.ts'
import type { MqttProvider } from '../transport/mqtt-provider.ts'
import { readMethodCall, type MethodCall } from './method-call.ts'

/**
 * Takes the direct method calls before the official transport does: that one knows methods by name only, so it cannot
 * answer a name nobody registered, and it throws on a topic without a name, which ends the process.
 *
 * It is shown no other message either: nothing else is subscribed to, but a session that the hub kept for another
 * program of the same device may still bring some.
 */
export class HubMqttBase extends GuardedMqttBase {
  readonly #onCall: (call: MethodCall) => void

  constructor(provider: MqttProvider, onCall: (call: MethodCall) => void) {
    super(provider)
    this.#onCall = onCall
  }

  protected override admit(message: IncomingMessage): undefined {
    const call = readMethodCall(message)
    if (call !== undefined) this.#onCall(call)
  }
}
