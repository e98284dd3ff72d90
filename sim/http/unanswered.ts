import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Duplex } from 'node:stream'

/** The requests of each connection that wait for their answer. */
export class Unanswered {
  readonly #requests = new WeakMap<Duplex, Map<IncomingMessage, Promise<void>>>()

  add(request: IncomingMessage, response: ServerResponse): void {
    const requests = this.#requests.get(request.socket) ?? new Map<IncomingMessage, Promise<void>>()
    this.#requests.set(request.socket, requests)
    const answered = new Promise<void>((resolve) => {
      response.once('close', () => {
        requests.delete(request)
        resolve()
      })
    })
    requests.set(request, answered)
  }

  /** Resolves when every request that has come to its end on this connection is answered. */
  async settled(connection: Duplex): Promise<void> {
    const whole = [...(this.#requests.get(connection) ?? [])].filter(([{ complete }]) => complete)
    await Promise.all(whole.map(([, answered]) => answered))
  }
}
