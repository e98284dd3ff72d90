import { once } from 'node:events'
import { connect, createServer, type AddressInfo, type Server, type Socket } from 'node:net'
import { onTestFinished } from 'vitest'

/** A way to a server that can be cut: whoever goes over it talks to the server itself, until it is. */
export class SeverableNetwork {
  readonly #server: Server
  readonly #sockets: Set<Socket>
  readonly #port: number

  private constructor(server: Server, sockets: Set<Socket>, port: number) {
    this.#server = server
    this.#sockets = sockets
    this.#port = port
  }

  /** A way that ends with the test. @param target - as `host:port` */
  static async open(target: string): Promise<SeverableNetwork> {
    const [, host = '', port = ''] = /^(.*):(\d+)$/.exec(target) ?? []
    const sockets = new Set<Socket>()
    const server = createServer((near) => {
      const far = connect({ host, port: Number(port), noDelay: true })
      for (const [one, other] of [
        [near, far],
        [far, near],
      ] as const) {
        sockets.add(one)
        one.on('error', () => other.destroy())
        one.on('close', () => {
          sockets.delete(one)
          other.destroy()
        })
      }
      near.pipe(far).pipe(near)
    })
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    const network = new SeverableNetwork(server, sockets, (server.address() as AddressInfo).port)
    onTestFinished(() => network.sever())
    return network
  }

  /** Where to connect. */
  get address(): string {
    return `127.0.0.1:${this.#port}`
  }

  /** Cuts every connection, and refuses others until `restore`. */
  async sever(): Promise<void> {
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    this.drop()
    await closed
  }

  async restore(): Promise<void> {
    this.#server.listen(this.#port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  /** Cuts every connection, and lets others be made. */
  drop(): void {
    for (const socket of this.#sockets) socket.destroy()
  }
}
