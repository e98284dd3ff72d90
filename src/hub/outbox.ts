import { randomUUID } from 'node:crypto'
import { LeafkeeperError } from '../errors.ts'
import type { DeviceMessage, HubConnection } from './hub-transport.ts'
import { measure } from './telemetry-message.ts'

/** How much an {@link Outbox} holds. */
export interface OutboxOptions {
  /** Messages that may wait for their acknowledgement. Default 1 000. */
  readonly capacity?: number
  /** Bytes, bodies and properties together, that may wait; an empty outbox takes any message. Default 16 MiB. */
  readonly maxBytes?: number
  /** Messages that may be on their way at once. Default 64. */
  readonly window?: number
  /** Called when the outbox was full and has fallen to half of what it holds. */
  readonly onDrain?: () => void
}

/** A message whose send() has not settled yet. */
interface Entry {
  readonly message: DeviceMessage & { readonly messageId: string }
  readonly size: number
  readonly settle: (error?: unknown) => void
  /** The connection it is in flight on; `undefined` while it waits for one. */
  carrier: HubConnection | undefined
}

/** Somebody who waits until the outbox has come to a state. */
interface Watch {
  readonly reached: () => boolean
  readonly tell: (reached: boolean) => void
}

/**
 * Telemetry that outlives connections. `send()` resolves when a hub has acknowledged the message, over however many
 * connections that takes; what a lost connection left unacknowledged goes first over the next one, in the old order
 * and under the old message ids. So a message may arrive twice, but none is lost silently.
 *
 * The outbox is in memory and bounded: when it is full, `send()` rejects at once.
 */
export class Outbox {
  readonly #capacity: number
  readonly #maxBytes: number
  readonly #window: number
  readonly #onDrain: () => void
  /** In the order of send(); everything in flight is older than everything that waits. */
  readonly #inFlight = new Set<Entry>()
  #waiting: Entry[] = []
  readonly #watches = new Set<Watch>()
  #bytes = 0
  #connection: HubConnection | undefined
  #paused = false
  #wasFull = false
  #closed = false

  /** @throws LeafkeeperError `AGENT_CONFIG_INVALID` */
  constructor(options: OutboxOptions = {}) {
    this.#capacity = atLeastOne('capacity', options.capacity ?? 1_000)
    this.#maxBytes = atLeastOne('maxBytes', options.maxBytes ?? 16 * 1024 * 1024)
    this.#window = atLeastOne('window', options.window ?? 64)
    this.#onDrain = options.onDrain ?? (() => undefined)
  }

  /** Messages that are not acknowledged yet. */
  get size(): number {
    return this.#inFlight.size + this.#waiting.length
  }

  /** Of these, the messages on their way. */
  get inFlight(): number {
    return this.#inFlight.size
  }

  /** How full the outbox is: 0 is empty, and from 1 on messages are refused. */
  get pressure(): number {
    return Math.max(this.size / this.#capacity, this.#bytes / this.#maxBytes)
  }

  /**
   * Takes a message, and resolves when a hub has acknowledged it.
   *
   * @param signal Gives the message up: it is not sent any more unless it is on its way already.
   * @throws LeafkeeperError `MESSAGE_INVALID`, `OUTBOX_FULL`, `OUTBOX_CLOSED`
   */
  async send(message: DeviceMessage, signal?: AbortSignal): Promise<void> {
    const size = measure(message)
    signal?.throwIfAborted()
    if (this.#closed) throw new LeafkeeperError('OUTBOX_CLOSED')
    if (this.size >= this.#capacity || (this.size > 0 && this.#bytes + size > this.#maxBytes)) {
      this.#wasFull = true
      throw new LeafkeeperError('OUTBOX_FULL', {
        message: `The telemetry outbox holds ${this.size} messages of ${this.#bytes} bytes, and takes no more.`,
      })
    }
    await new Promise<void>((resolve, reject) => {
      const entry: Entry = {
        message: copyOf(message),
        size,
        carrier: undefined,
        settle: (error) => {
          signal?.removeEventListener('abort', giveUp)
          if (error === undefined) resolve()
          // eslint-disable-next-line @typescript-eslint/prefer-promise-reject-errors -- a signal's reason is the caller's
          else reject(error)
        },
      }
      const giveUp = (): void => this.#settle(entry, signal?.reason ?? new Error('aborted'))
      signal?.addEventListener('abort', giveUp)
      this.#bytes += size
      this.#waiting.push(entry)
      this.#pump()
    })
  }

  /** Sends over this connection from now on: first what an earlier one left unacknowledged. */
  attach(connection: HubConnection): void {
    if (this.#closed || this.#connection === connection) return
    this.#recall()
    this.#connection = connection
    this.#pump()
  }

  /** Sends no more over this connection. What comes to be acknowledged on it all the same still counts. */
  detach(connection: HubConnection): void {
    if (this.#connection !== connection) return
    this.#connection = undefined
    this.#recall()
    this.#look()
  }

  /**
   * Holds messages back until {@link resume}, and waits for what is in flight, so that a change of connections finds
   * nothing on its way and nothing is sent twice.
   *
   * @returns Whether nothing is in flight any more; `false` when the time was up first.
   */
  async pause(timeoutMs: number): Promise<boolean> {
    this.#paused = true
    return await this.#when(() => this.#inFlight.size === 0, timeoutMs)
  }

  /** Ends {@link pause}. Attach a new connection first, or the old one is used once more. */
  resume(): void {
    this.#paused = false
    this.#pump()
  }

  /** Waits until everything is acknowledged; `false` when the time was up first. */
  async flush(timeoutMs: number): Promise<boolean> {
    return await this.#when(() => this.size === 0, timeoutMs)
  }

  /** Rejects what is not acknowledged with `OUTBOX_CLOSED`, and everything after it. */
  close(): void {
    this.#closed = true
    this.#connection = undefined
    const left = [...this.#inFlight, ...this.#waiting]
    for (const watch of this.#watches) watch.tell(false)
    for (const entry of left) this.#settle(entry, new LeafkeeperError('OUTBOX_CLOSED'))
  }

  #pump(): void {
    while (this.#connection !== undefined && !this.#paused && this.#inFlight.size < this.#window) {
      const entry = this.#waiting.shift()
      if (entry === undefined) return
      this.#inFlight.add(entry)
      entry.carrier = this.#connection
      void this.#carry(entry, this.#connection)
    }
  }

  async #carry(entry: Entry, connection: HubConnection): Promise<void> {
    try {
      await connection.send(entry.message)
    } catch (error) {
      // It may be on another connection by now, or settled.
      if (entry.carrier !== connection) return
      if (error instanceof LeafkeeperError && !error.retryable) this.#settle(entry, error)
      else this.detach(connection)
      return
    }
    this.#settle(entry)
  }

  /** Puts what is in flight back in front of what waits. */
  #recall(): void {
    for (const entry of this.#inFlight) entry.carrier = undefined
    this.#waiting = [...this.#inFlight, ...this.#waiting]
    this.#inFlight.clear()
  }

  #settle(entry: Entry, error?: unknown): void {
    if (!this.#inFlight.delete(entry)) {
      const index = this.#waiting.indexOf(entry)
      if (index < 0) return
      this.#waiting.splice(index, 1)
    }
    entry.carrier = undefined
    this.#bytes -= entry.size
    entry.settle(error)
    this.#pump()
    this.#look()
  }

  /** Tells those who wait for a state that it is reached. */
  #look(): void {
    for (const watch of this.#watches) if (watch.reached()) watch.tell(true)
    if (this.#wasFull && this.pressure <= 0.5 && !this.#closed) {
      this.#wasFull = false
      // A listener that throws must not get in the way of the acknowledgement that made room.
      queueMicrotask(this.#onDrain)
    }
  }

  async #when(reached: () => boolean, timeoutMs: number): Promise<boolean> {
    if (reached()) return true
    return await new Promise((resolve) => {
      const tell = (outcome: boolean): void => {
        clearTimeout(timer)
        this.#watches.delete(watch)
        resolve(outcome)
      }
      const watch: Watch = { reached, tell }
      const timer = setTimeout(() => tell(false), timeoutMs)
      this.#watches.add(watch)
    })
  }
}

/** The message as it is now: it may be sent much later, and again. */
function copyOf(message: DeviceMessage): DeviceMessage & { readonly messageId: string } {
  const { body, properties } = message
  return {
    ...message,
    messageId: message.messageId ?? randomUUID(),
    body: typeof body === 'string' ? body : Uint8Array.from(body),
    ...(properties === undefined ? {} : { properties: { ...properties } }),
  }
}

function atLeastOne(name: string, value: number): number {
  if (Number.isInteger(value) && value >= 1) return value
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected the outbox's ${name} to be a whole number of at least 1, but got ${value}.`,
  })
}
