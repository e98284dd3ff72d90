import { Agent } from 'node:https'

/** What clients need to reach one cloud under the host names of Azure. */
export interface ClientOptions {
  /**
   * Sends every HTTPS request to the cloud, whatever host it names, and trusts the cloud's authority. For
   * `_restApiClient.setOptions({ http: { agent } })` of the service SDKs, and for `fetch`-like clients.
   */
  readonly agent: Agent
  /** The same for MQTT over WebSocket. */
  readonly webSocketAgent: Agent
  /** The authority to trust, as PEM: for `client.setOptions({ ca })`. */
  readonly ca: string
  /** `localhost:PORT`, or the address that the cloud has for itself: the `gatewayHostName` of device clients, and the provisioning host over MQTT. */
  readonly gatewayHostName: string
}

/** Where a cloud listens. */
export interface ClientTarget {
  readonly address: string
  readonly host: string
  readonly port: number
  readonly ca: string
}

/**
 * Client options for one cloud.
 *
 * The server name is `localhost`, since that stands in the server's certificate whatever the hubs are called; the
 * Host header keeps Azure's name, by which the cloud finds the service.
 */
export function clientOptions({ address, host, port, ca }: ClientTarget): ClientOptions {
  const target = { host, port, servername: 'localhost', ca }
  return {
    agent: new Agent({ ...target, keepAlive: false }),
    webSocketAgent: new Agent({ ...target, keepAlive: false }),
    ca,
    gatewayHostName: address,
  }
}
