import { once } from 'node:events'
import type { TLSSocket } from 'node:tls'

// A server that has neither answered nor hung up by then has lost the connection.
const longestSilence = 15_000

/** A TLS connection of a fuzz test. Everything that is waited for comes, or the connection ends. */
export class Wire {
  readonly #socket: TLSSocket
  readonly #waiting = new Set<() => void>()
  #isClosed = false
  #failure: Error | undefined

  private constructor(socket: TLSSocket, onData: (chunk: Buffer) => void) {
    this.#socket = socket
    socket.setTimeout(longestSilence, () => {
      this.#failure = new Error(`The server was silent for ${longestSilence} ms.`)
      socket.destroy()
    })
    // A server may reset a connection that it does not want to read to its end.
    socket.on('error', () => undefined)
    socket.on('data', (chunk: Buffer) => {
      try {
        onData(chunk)
      } catch (error) {
        this.#failure ??= error instanceof Error ? error : new Error(String(error))
        socket.destroy()
      }
      this.#look()
    })
    socket.on('close', () => {
      this.#isClosed = true
      this.#look()
    })
  }

  /** @param onData - what it throws is thrown by whoever waits */
  static async open(socket: TLSSocket, onData: (chunk: Buffer) => void): Promise<Wire> {
    await once(socket, 'secureConnect')
    return new Wire(socket, onData)
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  send(bytes: Buffer): void {
    this.#socket.write(bytes)
  }

  /** The same: here nothing lies between. */
  sendRaw(bytes: Buffer): void {
    this.send(bytes)
  }

  /** Says that nothing more comes. */
  end(): void {
    this.#socket.end()
  }

  /** Goes without a word. */
  reset(): void {
    this.#socket.destroy()
  }

  /** Resolves when the condition holds, or when the connection has ended. @throws Error after a long silence */
  async until(condition: () => boolean): Promise<void> {
    while (!this.#isClosed && !condition()) {
      await new Promise<void>((resolve) => this.#waiting.add(resolve))
    }
    if (this.#failure !== undefined) throw this.#failure
  }

  async closed(): Promise<void> {
    await this.until(() => false)
  }

  #look(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const go of waiting) go()
  }
}
