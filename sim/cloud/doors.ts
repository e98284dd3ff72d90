import type { TLSSocket } from 'node:tls'
import { TlsListener, type ListenerAddress } from '../listener.ts'
import type { ServerCredential } from '../pki/server-certificate.ts'
import type { ListeningPlan } from './listening.ts'

/** The listeners of a cloud, one for each of its ports, which open, pause and resume together. */
export class Doors {
  readonly host: string
  /** The first one. Each of them leads to all services. */
  readonly port: number
  readonly #listeners: readonly TlsListener[]

  private constructor(host: string, port: number, listeners: readonly TlsListener[]) {
    this.host = host
    this.port = port
    this.#listeners = listeners
  }

  /** Opens all ports or none. @throws Error that names the port that cannot be had */
  static async open(
    credential: ServerCredential,
    onSecure: (socket: TLSSocket) => void,
    plan: ListeningPlan & Pick<ListenerAddress, 'refuses' | 'ended'>,
  ): Promise<Doors> {
    const { host, refuses, ended: told } = plan
    const listeners: TlsListener[] = []
    const ended = (): void => told?.(openOf(listeners))
    const openPort = (port: number): Promise<TlsListener> =>
      TlsListener.open(credential, onSecure, { host, port, ...(refuses && { refuses }), ended })
    const [first, ...others] = plan.ports
    const listener = await openPort(first)
    listeners.push(listener)
    try {
      for (const port of others) listeners.push(await openPort(port))
    } catch (error) {
      await Promise.all(listeners.map((one) => one.pause()))
      throw error
    }
    return new Doors(host, listener.port, listeners)
  }

  /** How many connections are open, those in their handshake among them. */
  get openConnections(): number {
    return openOf(this.#listeners)
  }

  /** Closes every port and every connection: connections are refused until `resume`. */
  async pause(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.pause()))
  }

  /** Listens again, on the same ports. */
  async resume(): Promise<void> {
    await Promise.all(this.#listeners.map((listener) => listener.resume()))
  }

  /** Cuts every connection, also those still in their handshake. */
  dropConnections(): void {
    for (const listener of this.#listeners) listener.dropConnections()
  }
}

function openOf(listeners: readonly TlsListener[]): number {
  return listeners.reduce((sum, { openConnections }) => sum + openConnections, 0)
}
