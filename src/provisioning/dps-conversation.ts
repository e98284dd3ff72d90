import azureProvisioning from 'azure-iot-provisioning-device'
import azureProvisioningMqtt from 'azure-iot-provisioning-device-mqtt'
import type { DeviceCredential } from '../transport/credential.ts'
import type { SecureStream } from '../transport/secure-stream.ts'
import { DpsMqttBase } from './dps-mqtt-base.ts'
import type { DpsOptions } from './dps-options.ts'
import type { Registration } from './provisioning-service.ts'

type OlderMqttBase = NonNullable<ConstructorParameters<typeof azureProvisioningMqtt.Mqtt>[0]>

const defaultPollingIntervalMs = 2_000
const defaultAnswerTimeoutMs = 30_000
const defaultRegistrationTimeoutMs = 180_000

/**
 * Registers through the official client on an open stream, and ends the stream.
 *
 * The client is kept away from everything it cannot stand: {@link DpsMqttBase} reads the answers first, refusals and
 * failures end the conversation here, and the end of the connection is told by the stream. What is left to the client
 * is the protocol: connect, subscribe, register, poll, and the assignment.
 */
export async function converse(
  stream: SecureStream,
  credential: DeviceCredential,
  options: DpsOptions,
  signal: AbortSignal,
): Promise<Registration> {
  const base = new DpsMqttBase(stream, options.answerTimeoutMs ?? defaultAnswerTimeoutMs)
  // The provisioning package brings an older azure-iot-mqtt-base; TypeScript takes its private fields for another type.
  const transport = new azureProvisioningMqtt.Mqtt(base as unknown as OlderMqttBase)
  transport.on('error', () => {
    // An event emitter without a listener throws its errors; the stream has the cause of this one.
  })
  transport.setTransportOptions({ pollingInterval: options.pollingIntervalMs ?? defaultPollingIntervalMs })
  transport.setAuthentication({ cert: credential.chain, key: credential.keyUri })
  // ProvisioningDeviceClient wraps just this machine, but offers no way to stop the machine's polling timer.
  const client = new azureProvisioning.PollingStateMachine(transport)

  stream.expect('with an assignment', options.registrationTimeoutMs ?? defaultRegistrationTimeoutMs)
  const stop = (): void => stream.discard()
  signal.addEventListener('abort', stop)
  try {
    signal.throwIfAborted()
    const registered = client.register({
      registrationId: credential.commonName,
      provisioningHost: options.provisioningHost,
      idScope: options.idScope,
    })
    return await stream.until(Promise.race([registered.then(() => base.assignment), base.refusal]))
  } catch (error) {
    throw signal.aborted ? signal.reason : error
  } finally {
    signal.removeEventListener('abort', stop)
    base.finish()
    // Also clears the timers of the machine, so it must run even where the stream is gone. Not awaited: the answer is
    // there, and the stream closes in bounded time whatever the client does.
    client.disconnect(() => {
      // Nothing waits for it.
    })
    void stream.close(() => {
      // The client says goodbye.
    })
  }
}
