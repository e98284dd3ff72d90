import type { PresentedChain } from '../pki/presented-chain.ts'

/** The CONNACK codes with which a service can refuse (MQTT 3.1.1, 3.2.2.3). */
export type RefusalCode = 2 | 3 | 4 | 5

/** A CONNECT, with what the peer has shown in its TLS handshake. */
export interface ConnectRequest {
  readonly clientId: string
  readonly userName: string
  readonly password: Buffer | undefined
  readonly presented: PresentedChain
  /** The connection that the CONNECT came on. */
  readonly connection: DeviceConnection
}

/** A connection to one device, as the services use it. */
export interface DeviceConnection {
  /** Sends with QoS 0. Does nothing once the connection is gone. */
  send(topic: string, payload: string | Buffer): void
  /** Ends the connection without a word, as MQTT 3.1.1 wants it. */
  destroy(): void
}

/** What a device has published. */
export interface Publication {
  readonly topic: string
  readonly payload: Buffer
  readonly retain: boolean
  /** The will of a device that went without DISCONNECT. */
  readonly will: boolean
}

/**
 * What a service does on a connection that it has accepted. A {@link ProtocolViolation} thrown in here ends the
 * connection; a publication is acknowledged when `published` has returned.
 */
export interface MqttSession {
  /** CONNACK 0 has been sent. */
  opened(): void
  published(publication: Publication): void
  subscribed(filter: string): void
  unsubscribed(filter: string): void
  /** The connection has ended, whoever ended it. Comes once, also when `opened` never came. */
  closed(): void
}

/** A service that speaks MQTT to devices. */
export interface MqttService {
  /** Tells its clients from those of other services, which may have the same client id. */
  readonly name: string
  /** Whether a client has one session, which a new connection takes over and which outlives it (`clean=false`). */
  readonly keepsSessions: boolean
  /** @throws ConnectRefused with the CONNACK code, or ProtocolViolation to end the connection without an answer */
  accept(request: ConnectRequest): MqttSession
}

/** Refuses a CONNECT. */
export class ConnectRefused extends Error {
  override readonly name = 'ConnectRefused'
  readonly returnCode: RefusalCode

  constructor(returnCode: RefusalCode, reason: string) {
    super(reason)
    this.returnCode = returnCode
  }
}

/** Ends a connection without an answer. */
export class ProtocolViolation extends Error {
  override readonly name = 'ProtocolViolation'
}
