import { parseAddress, route } from '../transport/address.ts'
import { openSecureStream } from '../transport/open-secure-stream.ts'
import type { Service } from '../transport/service.ts'
import { converse } from './dps-conversation.ts'
import type { DpsOptions } from './dps-options.ts'
import type { ProvisioningService } from './provisioning-service.ts'

export type { DpsOptions } from './dps-options.ts'

/**
 * DPS over MQTT with an X.509 credential, through the official provisioning client. Each registration has a connection
 * and a client of its own; nothing is retried inside.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where a host is not one
 */
export function dpsOverMqtt(options: DpsOptions): ProvisioningService {
  route(parseAddress(options.provisioningHost), options.connectTo)
  const service: Service = {
    title: 'DPS',
    host: options.provisioningHost,
    unauthorized: 'DPS_UNAUTHORIZED',
    unavailable: 'DPS_UNAVAILABLE',
    refused: 'DPS_REFUSED',
  }
  return {
    async register(credential, signal) {
      const stream = await openSecureStream(service, credential, options, signal)
      return await converse(stream, credential, options, signal)
    },
  }
}
