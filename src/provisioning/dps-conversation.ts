import azureProvisioningMqtt from 'azure-iot-provisioning-device-mqtt'
import { openSecureStream } from '../transport/open-secure-stream.ts'
import type { Service } from '../transport/service.ts'
import { DpsMqttBase, type CertificateQuestion } from './dps-mqtt-base.ts'
import type { DpsOptions } from './dps-options.ts'
import type { RegistrationProof } from './registration-proof.ts'

type OlderMqttBase = NonNullable<ConstructorParameters<typeof azureProvisioningMqtt.Mqtt>[0]>

const defaultAnswerTimeoutMs = 30_000
const defaultRegistrationTimeoutMs = 180_000

/** What is said on one connection. */
export interface Talk<Outcome> {
  readonly outcome: Promise<Outcome>
  /** Lets go of the official client, and of its timers. Called once, also where the stream is gone. */
  end(): void
}

/** The official transport on an open stream, kept away from everything it cannot stand. */
export interface Speaker {
  readonly transport: azureProvisioningMqtt.Mqtt
  readonly base: DpsMqttBase
  /** Whom the conversation is about. */
  readonly request: {
    readonly registrationId: string
    readonly provisioningHost: string
    readonly idScope: string
  }
}

/** How errors speak of a provisioning service. */
export function dpsService({ provisioningHost }: DpsOptions): Service {
  return {
    title: 'DPS',
    host: provisioningHost,
    unauthorized: 'DPS_UNAUTHORIZED',
    unavailable: 'DPS_UNAVAILABLE',
    refused: 'DPS_REFUSED',
  }
}

/**
 * Talks with DPS through the official transport, on a connection of its own.
 *
 * {@link DpsMqttBase} reads the answers first, refusals and failures end the conversation here, and the end of the
 * connection is told by the stream. What is left to the official packages is the protocol: connect, subscribe,
 * register, poll, and the assignment.
 *
 * @param question What is asked beside the registration, where it is
 */
export async function talkWithDps<Outcome>(
  proof: RegistrationProof,
  options: DpsOptions,
  signal: AbortSignal,
  begin: (speaker: Speaker) => Talk<Outcome>,
  question?: CertificateQuestion,
): Promise<Outcome> {
  const stream = await openSecureStream(dpsService(options), proof, options, signal)
  const base = new DpsMqttBase(stream, options.answerTimeoutMs ?? defaultAnswerTimeoutMs, question)
  // The provisioning package brings an older azure-iot-mqtt-base; TypeScript takes its private fields for another type.
  const transport = new azureProvisioningMqtt.Mqtt(base as unknown as OlderMqttBase)
  transport.on('error', () => {
    // An event emitter without a listener throws its errors; the stream has the cause of this one.
  })
  proof.authenticate(transport)
  stream.expect('with an assignment', options.registrationTimeoutMs ?? defaultRegistrationTimeoutMs)
  const stop = (): void => stream.discard()
  signal.addEventListener('abort', stop)
  let end: () => void = () => undefined
  try {
    signal.throwIfAborted()
    const { provisioningHost, idScope } = options
    const { registrationId } = proof
    const talk = begin({ transport, base, request: { registrationId, provisioningHost, idScope } })
    end = () => talk.end()
    return await stream.until(Promise.race([talk.outcome, base.refusal]))
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', stop)
    base.finish()
    // Not awaited: the answer is there, and the stream closes in bounded time whatever the client does.
    end()
    void stream.close(() => {
      // The client says goodbye.
    })
  }
}
