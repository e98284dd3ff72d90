import type { DeviceId } from '../brands.ts'
import type { CredentialChannel } from '../credential-channel.ts'
import type { LeafkeeperError } from '../errors.ts'
import type { TwinChannel } from '../twin-channel.ts'
import type { DeviceCredential } from '../transport/credential.ts'

/** One telemetry message. */
export interface DeviceMessage {
  readonly body: string | Uint8Array
  /** Identifies the message to the receiver, also when it was sent twice. Made up where it is left out. */
  readonly messageId?: string
  readonly contentType?: string
  readonly contentEncoding?: string
  readonly correlationId?: string
  /** Application properties. */
  readonly properties?: Readonly<Record<string, string>>
}

/** A direct method call that arrived from the hub. */
export interface MethodRequest {
  readonly name: string
  /** The parsed JSON payload; `undefined` when there was none. */
  readonly payload: unknown
}

/** The answer to a direct method call. */
export interface MethodAnswer {
  /** 200 to 599, as HTTP has them. */
  readonly status: number
  readonly payload: unknown
  /** Runs once the answer is on its way: a method that reconnects must have answered before it acts. */
  readonly afterwards?: () => void
}

/** Answers every direct method call of a connection. */
export type MethodHandler = (request: MethodRequest) => MethodAnswer | Promise<MethodAnswer>

/** A connection on which the hub has accepted the device. */
export interface HubConnection {
  /** Resolves when the hub has acknowledged the message (PUBACK). */
  send(message: DeviceMessage & { readonly messageId: string }): Promise<void>
  /** The device's twin; left out by a transport that has none. */
  readonly twin?: TwinChannel
  /** How an issuer asks the hub itself for certificates; left out by a transport that cannot. */
  readonly credentials?: CredentialChannel
  /** Resolves when the connection has ended: with the cause, or with `undefined` after `close()`. Never rejects. */
  readonly ended: Promise<LeafkeeperError | undefined>
  /** Disconnects. Resolves when the socket is closed; may be called twice. */
  close(): Promise<void>
}

/** TCP and TLS to a hub are open, with the device's key; nothing has been said in MQTT yet. */
export interface PreparedHubConnection {
  /**
   * Sends MQTT CONNECT, which takes over from an older session of the same device, and resolves when the hub has
   * accepted it. Direct methods go to `onMethod` from then on. A refusal leaves the older session alone.
   *
   * @throws LeafkeeperError from the raw cause: `HUB_UNAUTHORIZED` (CONNACK 4 or 5, or a TLS alert about the
   * client certificate), `HUB_UNAVAILABLE` (CONNACK 3), `HUB_REFUSED`, `NETWORK_UNREACHABLE`, `NETWORK_TIMEOUT`
   */
  connect(onMethod: MethodHandler, signal: AbortSignal): Promise<HubConnection>
  /** Closes the unused connection. */
  discard(): void
}

/** Which device connects to which hub. */
export interface HubTarget {
  /** Host name. */
  readonly hub: string
  readonly deviceId: DeviceId
  /** The version of the hub's MQTT API that is needed; any where it is left out. */
  readonly apiVersion?: string
}

/** IoT Hub, as the agent sees it. */
export interface HubTransport {
  /**
   * Opens TCP and TLS to a hub.
   *
   * @throws LeafkeeperError from the raw cause: `HUB_UNAUTHORIZED` (a TLS alert about the client certificate),
   * `NETWORK_UNREACHABLE`, `NETWORK_TIMEOUT`, `TLS_SERVER_UNTRUSTED`, `TLS_KEY_UNUSABLE`, `TLS_RESTART_NEEDED`
   */
  prepare(
    target: HubTarget,
    credential: DeviceCredential,
    signal: AbortSignal,
  ): Promise<PreparedHubConnection>
}
