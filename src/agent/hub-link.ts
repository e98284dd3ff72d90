import type { CredentialChannel } from '../credential-channel.ts'
import { LeafkeeperError } from '../errors.ts'
import type {
  HubConnection,
  HubTransport,
  MethodHandler,
  PreparedHubConnection,
} from '../hub/hub-transport.ts'
import type { Outbox } from '../hub/outbox.ts'
import type { TwinChannel } from '../twin-channel.ts'
import type { Credentials } from './credentials.ts'
import type { Assignment, Operation } from './states.ts'
import type { DeviceId } from '../brands.ts'

/** What the link needs from outside. */
export interface HubLinkParts {
  readonly hub: HubTransport
  readonly outbox: Outbox
  readonly credentials: Credentials
  readonly onMethod: MethodHandler
  /** The version of the hub's MQTT API that the agent needs, where it needs a certain one. */
  readonly apiVersion?: string | undefined
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
  readonly #closing = new Set<Promise<void>>()
  #takeovers = 0
  #unusableSince: number | null = null
  /** Of earlier attempts at the present change of connections. */
  #unusableMs = 0
  #blackoutMs: number | null = null

  constructor(parts: HubLinkParts) {
    this.#parts = parts
  }

  /**
   * How long the device had no usable connection before the present one, in milliseconds: from the moment the old
   * one had ended or was held still for a takeover, failed attempts included. `null` for the first connection.
   */
  get lastBlackoutMs(): number | null {
    return this.#blackoutMs
  }

  /** How an issuer asks the hub, on the newest connection; `undefined` while there is none. */
  get credentials(): CredentialChannel | undefined {
    return [...this.#open.values()].at(-1)?.credentials
  }

  /** The device's twin, on the newest connection. */
  get twin(): TwinChannel | undefined {
    return [...this.#open.values()].at(-1)?.twin
  }

  /** Opens TCP and TLS ahead of time. A failure shows when the connection is wanted. */
  prepare(generation: number, assignment: Assignment, signal: AbortSignal): void {
    const key = keyOf(generation, assignment)
    if (this.#prepared.has(key)) return
    const prepared = this.#openTls(generation, assignment, signal)
    prepared.catch(() => {
      if (this.#prepared.get(key) === prepared) this.#prepared.delete(key)
    })
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
    if (signal.aborted) {
      await connection.close()
      signal.throwIfAborted()
    }
    this.#open.set(operation, connection)
    this.#blackoutMs = this.#unusableSince === null ? null : this.#unusableMs + this.#endUnusable()
    this.#unusableMs = 0
    void connection.ended.then((error) => this.#absorbEnd(operation, connection, error))
  }

  /** Ends one connection; the outbox goes on with another one where there is one. */
  async close(operation: Operation): Promise<void> {
    const connection = this.#open.get(operation)
    if (connection === undefined) return
    this.#open.delete(operation)
    this.#leave(connection)
    const closing = connection.close().finally(() => this.#closing.delete(closing))
    this.#closing.add(closing)
    await closing
  }

  /** Ends everything, once what is in flight has been acknowledged or has had its time. */
  async closeAll(): Promise<void> {
    this.discardPrepared()
    if (this.#open.size > 0) await this.#parts.outbox.pause(settleMs)
    await Promise.all([...this.#open.keys()].map((operation) => this.close(operation)))
    await Promise.all(this.#closing)
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
    const { hub, apiVersion } = this.#parts
    const target = { hub: assignment.hub, deviceId: assignment.deviceId as DeviceId }
    return hub.prepare(apiVersion === undefined ? target : { ...target, apiVersion }, credential, signal)
  }

  /** From here until the hub has answered, neither connection can be relied on, so nothing is sent. */
  async #takeOver(prepared: PreparedHubConnection, signal: AbortSignal): Promise<HubConnection> {
    const { outbox, onMethod } = this.#parts
    if (this.#open.size > 0) {
      this.#unusableSince ??= performance.now()
      await outbox.pause(settleMs)
    }
    this.#takeovers += 1
    try {
      const connection = await prepared.connect(onMethod, signal)
      outbox.attach(connection)
      return connection
    } catch (error) {
      // The hub has refused before it took anything over: the old connection goes on, but it did stand still.
      if (this.#open.size > 0) this.#unusableMs += this.#endUnusable()
      throw error
    } finally {
      outbox.resume()
      this.#takeovers -= 1
      setImmediate(() => {
        this.#reportEnds()
      })
    }
  }

  /** Ends the time without a usable connection, and returns how long it was, in milliseconds. */
  #endUnusable(): number {
    const since = this.#unusableSince
    this.#unusableSince = null
    return since === null ? 0 : performance.now() - since
  }

  #absorbEnd(operation: Operation, connection: HubConnection, error: LeafkeeperError | undefined): void {
    const wasOpen = this.#open.delete(operation)
    this.#leave(connection)
    if (this.#open.size === 0) this.#unusableSince ??= performance.now()
    if (wasOpen) this.#ends.push({ operation, error: error ?? new LeafkeeperError('HUB_CONNECTION_LOST') })
    this.#reportEnds()
  }

  /** The outbox sends on the newest connection that is left. */
  #leave(connection: HubConnection): void {
    this.#parts.outbox.detach(connection)
    const newest = [...this.#open.values()].at(-1)
    if (newest !== undefined) this.#parts.outbox.attach(newest)
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
