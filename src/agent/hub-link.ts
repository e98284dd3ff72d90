import { LeafkeeperError } from '../errors.ts'
import type {
  HubConnection,
  HubTransport,
  MethodHandler,
  PreparedHubConnection,
} from '../hub/hub-transport.ts'
import type { Outbox } from '../hub/outbox.ts'
import type { Credentials } from './credentials.ts'
import type { Assignment, Operation } from './states.ts'
import type { DeviceId } from '../brands.ts'

/** What the link needs from outside. */
export interface HubLinkParts {
  readonly hub: HubTransport
  readonly outbox: Outbox
  readonly credentials: Credentials
  readonly onMethod: MethodHandler
  /** A connection that was up has ended, though nobody closed it here. */
  readonly ended: (operation: Operation, error: LeafkeeperError) => void
}

/** How long messages in flight may take to be acknowledged before a takeover, in milliseconds. */
const settleMs = 250

/**
 * The agent's hub connections: the one in use, and while a roll switches the one that takes over. The outbox always
 * sends on the newest connection that a hub has accepted.
 */
export class HubLink {
  readonly #parts: HubLinkParts
  readonly #open = new Map<Operation, HubConnection>()
  readonly #prepared = new Map<string, Promise<PreparedHubConnection>>()
  readonly #ends: { readonly operation: Operation; readonly error: LeafkeeperError }[] = []
  #takeovers = 0
  #lastUsableAt: number | null = null
  #blackoutMs: number | null = null

  constructor(parts: HubLinkParts) {
    this.#parts = parts
  }

  /**
   * How long the device had no usable connection before the present one, in milliseconds: from the moment the old
   * one had ended or was given up for a takeover. `null` for the first connection.
   */
  get lastBlackoutMs(): number | null {
    return this.#blackoutMs
  }

  /** Opens TCP and TLS ahead of time. A failure shows when the connection is wanted. */
  prepare(generation: number, assignment: Assignment, signal: AbortSignal): void {
    const key = keyOf(generation, assignment)
    if (this.#prepared.has(key)) return
    const prepared = this.#openTls(generation, assignment, signal)
    prepared.catch(() => this.#prepared.delete(key))
    this.#prepared.set(key, prepared)
  }

  /** Connects with a generation, taking over from an older connection of this device. */
  async connect(
    operation: Operation,
    generation: number,
    assignment: Assignment,
    signal: AbortSignal,
  ): Promise<void> {
    const connection = await this.#connectPrepared(generation, assignment, signal)
    this.#open.set(operation, connection)
    if (this.#lastUsableAt !== null) this.#blackoutMs = performance.now() - this.#lastUsableAt
    this.#lastUsableAt = null
    void connection.ended.then((error) => this.#absorbEnd(operation, connection, error))
  }

  /** Ends one connection. */
  async close(operation: Operation): Promise<void> {
    const connection = this.#open.get(operation)
    this.#open.delete(operation)
    await connection?.close()
  }

  /** Ends everything. */
  async closeAll(): Promise<void> {
    this.discardPrepared()
    await Promise.all([...this.#open.keys()].map((operation) => this.close(operation)))
  }

  /** Closes what was opened ahead of time and is not wanted any more. */
  discardPrepared(): void {
    for (const prepared of this.#prepared.values())
      prepared.then(
        (unused) => unused.discard(),
        () => undefined,
      )
    this.#prepared.clear()
  }

  async #connectPrepared(
    generation: number,
    assignment: Assignment,
    signal: AbortSignal,
  ): Promise<HubConnection> {
    const key = keyOf(generation, assignment)
    const ahead = this.#prepared.get(key)
    this.#prepared.delete(key)
    if (ahead !== undefined) {
      try {
        return await this.#takeOver(await ahead, signal)
      } catch (error) {
        // What was opened ahead of time may have been closed while it waited; only that is worth a second try.
        if (!(error instanceof LeafkeeperError) || !error.retryable || signal.aborted) throw error
      }
    }
    return this.#takeOver(await this.#openTls(generation, assignment, signal), signal)
  }

  async #openTls(
    generation: number,
    assignment: Assignment,
    signal: AbortSignal,
  ): Promise<PreparedHubConnection> {
    const credential = await this.#parts.credentials.credential(generation)
    const target = { hub: assignment.hub, deviceId: assignment.deviceId as DeviceId }
    return this.#parts.hub.prepare(target, credential, signal)
  }

  /** From here until the hub has answered, neither connection can be relied on, so nothing is sent. */
  async #takeOver(prepared: PreparedHubConnection, signal: AbortSignal): Promise<HubConnection> {
    const { outbox, onMethod } = this.#parts
    if (this.#open.size > 0) {
      this.#lastUsableAt ??= performance.now()
      await outbox.pause(settleMs)
    }
    this.#takeovers += 1
    try {
      const connection = await prepared.connect(onMethod, signal)
      outbox.attach(connection)
      return connection
    } catch (error) {
      // The hub has refused before it took anything over: the old connection goes on.
      if (this.#open.size > 0) this.#lastUsableAt = null
      throw error
    } finally {
      outbox.resume()
      this.#takeovers -= 1
      setImmediate(() => {
        this.#reportEnds()
      })
    }
  }

  #absorbEnd(operation: Operation, connection: HubConnection, error: LeafkeeperError | undefined): void {
    this.#parts.outbox.detach(connection)
    const wasOpen = this.#open.delete(operation)
    if (this.#open.size === 0) this.#lastUsableAt ??= performance.now()
    if (wasOpen) this.#ends.push({ operation, error: error ?? new LeafkeeperError('HUB_CONNECTION_LOST') })
    this.#reportEnds()
  }

  /** The old connection ends because another takes over: whether that succeeded is told first. */
  #reportEnds(): void {
    if (this.#takeovers > 0) return
    for (const { operation, error } of this.#ends.splice(0)) this.#parts.ended(operation, error)
  }
}

function keyOf(generation: number, assignment: Assignment): string {
  return `${generation}@${assignment.hub}/${assignment.deviceId}`
}
