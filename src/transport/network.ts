/** How the device reaches its servers; the same for DPS and for every hub. */
export interface NetworkOptions {
  /** PEM of the authorities that may sign server certificates. Default: Node's own list. */
  readonly trustedAuthorities?: string
  /**
   * Where to connect in place of a host's own address: `host:port` by host name, or by `*.domain` for all hosts
   * below it. The server still has to prove the original name. For gateways, port forwards and the simulator.
   *
   * @example `{ '*.azure-devices.net': 'localhost:43121' }`
   */
  readonly connectTo?: Readonly<Record<string, string>>
  /** How long TCP and TLS together may take, in milliseconds. Default 20 000. */
  readonly connectTimeoutMs?: number
  /** How long the server may take for an answer (CONNACK, SUBACK, PUBACK, registration), in milliseconds. Default 30 000. */
  readonly answerTimeoutMs?: number
}
