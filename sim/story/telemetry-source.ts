import type { DeviceAgent } from 'leafkeeper'

/** Sends numbered messages at a steady rate and keeps count of what became of them. */
export class TelemetrySource {
  readonly #agent: DeviceAgent
  readonly #timer: NodeJS.Timeout
  readonly #pending = new Set<Promise<void>>()
  #sent = 0
  #failed = 0

  /** @param intervalMs Time between two messages, in milliseconds. */
  constructor(agent: DeviceAgent, intervalMs: number) {
    this.#agent = agent
    this.#timer = setInterval(() => this.#send(), intervalMs)
  }

  get sent(): number {
    return this.#sent
  }

  /** Messages whose `send()` was rejected. */
  get failed(): number {
    return this.#failed
  }

  /** Sends no more, and waits for what is under way. */
  async stop(): Promise<void> {
    clearInterval(this.#timer)
    await Promise.all(this.#pending)
  }

  #send(): void {
    this.#sent += 1
    const body = JSON.stringify({ sequence: this.#sent, temperature: 20 + Math.sin(this.#sent / 50) })
    const sending = this.#agent
      .send({ body, messageId: `story-${this.#sent}`, contentType: 'application/json' })
      .catch(() => {
        this.#failed += 1
      })
    this.#pending.add(sending)
    void sending.finally(() => this.#pending.delete(sending))
  }
}
