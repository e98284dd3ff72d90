import azureProvisioning from 'azure-iot-provisioning-device'
import { LeafkeeperError } from '../errors.ts'
import { parseAddress, route } from '../transport/address.ts'
import { talkWithDps } from './dps-conversation.ts'
import type { DpsOptions } from './dps-options.ts'
import { withOnboarding } from './onboarding.ts'
import type { ProvisioningService, Registration } from './provisioning-service.ts'
import { proofByCertificate, type RegistrationProof } from './registration-proof.ts'

export type { DpsOptions } from './dps-options.ts'

const defaultPollingIntervalMs = 2_000

/**
 * DPS over MQTT, through the official provisioning client: with the device's own certificate, or with an onboarding
 * credential where one is given. Each registration has a connection and a client of its own; nothing is retried inside.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where a host is not one
 */
export function dpsOverMqtt(options: DpsOptions): ProvisioningService {
  route(parseAddress(options.provisioningHost), options.connectTo)
  const { onboarding, idScope } = options
  return {
    async register(credential, signal) {
      if ('activate' in credential)
        throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
          message: 'DPS takes no TPM over MQTT; give dpsOverHttps as its provisioning.',
        })
      if (onboarding === undefined) return register(proofByCertificate(credential), options, signal)
      const registrant = { registrationId: credential.commonName, idScope }
      return withOnboarding(onboarding, registrant, (proof) => register(proof, options, signal))
    },
  }
}

function register(proof: RegistrationProof, options: DpsOptions, signal: AbortSignal): Promise<Registration> {
  return talkWithDps(proof, options, signal, ({ transport, base, request }) => {
    transport.setTransportOptions({ pollingInterval: options.pollingIntervalMs ?? defaultPollingIntervalMs })
    // ProvisioningDeviceClient wraps just this machine, but offers no way to stop the machine's polling timer.
    const client = new azureProvisioning.PollingStateMachine(transport)
    return {
      outcome: client.register(request).then(() => base.assignment),
      end: () => client.disconnect(() => undefined),
    }
  })
}
