import type { DeviceId } from './brands.ts'

/** One answer of a hub on `$iothub/credentials/res/{status}/?$rid={requestId}`. */
export interface CredentialAnswer {
  /** As HTTP has them: 202, 200, 400 ... */
  readonly status: number
  readonly requestId: string
  /** JSON, as it came. */
  readonly body: Buffer
}

/** Ends listening. `done`: nothing more is awaited, so the hub is told that the device no longer listens. */
export type StopListening = (done: boolean) => Promise<void>

/**
 * `$iothub/credentials` on one hub connection (preview): how an issuer asks the hub itself, beside the telemetry.
 *
 * @example
 * ```ts
 * const stop = await channel.listen('1f0c9a', ({ status, body }) => answers.push({ status, body }))
 * await channel.request('1f0c9a', JSON.stringify({ id: channel.deviceId, csr }))
 * ```
 */
export interface CredentialChannel {
  /** The device of this connection; for no other can anything be asked. */
  readonly deviceId: DeviceId
  /**
   * Listens for the answers to one request. Resolves when the hub has granted the subscription; without it a hub does
   * not hear requests. What came before anybody listened, such as the answer to a request of an earlier process, is
   * told at once.
   *
   * @throws LeafkeeperError where the connection ends first
   */
  listen(requestId: string, onAnswer: (answer: CredentialAnswer) => void): Promise<StopListening>
  /**
   * Publishes a request to issue a certificate (QoS 1). Resolves with the hub's PUBACK, which says nothing of what
   * becomes of it.
   *
   * @param requestId 4 to 36 letters, digits and inner hyphens
   * @throws LeafkeeperError where the connection ends first
   */
  request(requestId: string, body: string): Promise<void>
  /** Resolves when the connection has ended, for whatever reason. Never rejects. */
  readonly ended: Promise<unknown>
}
