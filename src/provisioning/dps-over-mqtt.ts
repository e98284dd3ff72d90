import type { NetworkOptions } from '../transport/network.ts'
import { parseAddress, route } from '../transport/address.ts'
import { openSecureStream } from '../transport/open-secure-stream.ts'
import type { Service } from '../transport/service.ts'
import { converse } from './dps-conversation.ts'
import type { ProvisioningService } from './provisioning-service.ts'

/** How to reach a Device Provisioning Service. */
export interface DpsOptions extends NetworkOptions {
  /** `global.azure-devices-provisioning.net`, or the service's own host; `host:port` where the port is not 8883. */
  readonly provisioningHost: string
  /** The id scope of the service, such as `0ne00000A0A`. */
  readonly idScope: string
  /** How long to wait between two questions where DPS names no time, in milliseconds. Default 2 000. */
  readonly pollingIntervalMs?: number
  /** How long a whole registration may take once TLS is open, in milliseconds. Default 180 000. */
  readonly registrationTimeoutMs?: number
}

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
