import type { PresentedChain } from '../pki/presented-chain.ts'

/** The CONNACK codes with which a service can refuse (MQTT 3.1.1, 3.2.2.3). */
export type RefusalCode = 2 | 3 | 4 | 5

/** A CONNECT, with what the peer has shown in its TLS handshake. */
export interface ConnectRequest {
  readonly clientId: string
  readonly userName: string
  readonly password: Buffer | undefined
  /** Whether the device wants to begin anew, and to leave nothing behind. */
  readonly clean: boolean
  readonly presented: PresentedChain
  /** The connection that the CONNECT came on. */
  readonly connection: DeviceConnection
}

/** A connection to one device, as the services use it. */
export interface DeviceConnection {
  /** Sends with QoS 0. Does nothing once the connection is gone. */
  send(topic: string, payload: string | Buffer): void
  /** Sends with QoS 1. Does nothing once the connection is gone. @param again - sent before, on another connection */
  deliver(topic: string, payload: string | Buffer, packetId: number, again: boolean): void
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

/** A subscription of an earlier connection, with the QoS it was granted. */
export interface StoredSubscription {
  readonly topic: string
  readonly qos: 0 | 1
}

/**
 * What a service does on a connection that it has accepted. A {@link ProtocolViolation} thrown in here ends the
 * connection; a publication is acknowledged when `published` has returned.
 */
export interface MqttSession {
  /** CONNACK 0 has been sent. */
  opened(): void
  published(publication: Publication): void
  /** Subscriptions of an earlier connection come before `opened`. */
  subscribed(filter: string, qos: 0 | 1): void
  /** SUBACK has been sent. */
  listening?(filter: string): void
  /** PUBACK has come. */
  acknowledged?(packetId: number): void
  /** What the device has subscribed to already, when it comes back with `clean=false`. */
  stored?(): readonly StoredSubscription[]
  unsubscribed(filter: string): void
  /** The connection has ended, whoever ended it. Comes once, also when `opened` never came. */
  closed(): void
}

/** A service that speaks MQTT to devices. */
export interface MqttService {
  /** Tells its clients from those of other services, which may have the same client id. */
  readonly name: string
  /** Whether sessions can outlive their connection (`clean=false`). The service keeps them itself. */
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
