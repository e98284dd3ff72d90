import type { TLSSocket } from 'node:tls'
import { TlsListener } from '../listener.ts'
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
    plan: ListeningPlan & { readonly refuses: () => boolean },
  ): Promise<Doors> {
    const { host, refuses } = plan
    const [first, ...others] = plan.ports
    const listener = await TlsListener.open(credential, onSecure, { host, port: first, refuses })
    const listeners = [listener]
    try {
      for (const port of others) {
        listeners.push(await TlsListener.open(credential, onSecure, { host, port, refuses }))
      }
    } catch (error) {
      await Promise.all(listeners.map((one) => one.pause()))
      throw error
    }
    return new Doors(host, listener.port, listeners)
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
