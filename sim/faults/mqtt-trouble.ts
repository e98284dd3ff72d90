import type { SimulatedProvisioningService } from '../dps/provisioning-service.ts'
import type { TroubleOf } from '../mqtt/mqtt-front.ts'
import { ConnectRefused, ProtocolViolation } from '../mqtt/session.ts'
import type { Faults } from './faults.ts'

const asked = 'A fault was asked for.'

/**
 * The faults of the faces that speak MQTT. DPS lets everyone connect, so that its faults wait for a request; a hub
 * that is down, throttled or in error refuses CONNECTs with code 3 and ends connections that publish.
 */
export function mqttTrouble(
  faults: Faults,
  dps: SimulatedProvisioningService,
  down: ReadonlySet<string>,
): TroubleOf {
  return (service, occasion) => {
    if (service === dps.mqtt) {
      if (occasion === 'connect') return undefined
      const { refusal, ...trouble } = faults.trouble('dps')
      const refuse = (): void => {
        if (refusal !== undefined) dps.refuseNext({ ...refusal, errorCode: refusal.status * 1000 + 1 })
      }
      return { ...trouble, refuse }
    }
    const { refusal, ...trouble } = faults.trouble('hub')
    const refuse = (): void => {
      if (refusal === undefined && !down.has(service.name)) return
      throw occasion === 'connect' ? new ConnectRefused(3, asked) : new ProtocolViolation(asked)
    }
    return { ...trouble, refuse }
  }
}
