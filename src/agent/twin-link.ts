import { LeafkeeperError, messageOf } from '../errors.ts'
import type { TwinChannel, TwinProperties } from '../twin-channel.ts'
import type { Clock } from './clock.ts'
import { patchBetween, patched } from './merge-patch.ts'
import { readWindow, windowExpected } from './roll-window.ts'
import type { RollWindow } from './states.ts'

/** What the link needs from outside. */
export interface TwinLinkParts {
  readonly clock: Clock
  /** What the twin should say of this agent now. */
  readonly report: () => TwinProperties
  /** The twin names a window, or none. */
  readonly onWindow: (window: RollWindow | null) => void
  readonly problem: (error: LeafkeeperError) => void
}

/** The agent's part of the reported and of the desired properties. */
const section = 'leafkeeper'

/** When a twin that could not be read or written is tried again, in milliseconds; it doubles up to the last. */
const retryMs = { first: 30_000, last: 30 * 60_000 }

/**
 * Keeps the agent's part of the twin true, and listens to what the cloud wants of it. One update at a time, and none
 * while nothing has changed. A twin that cannot be reached is a nuisance and never an obstacle.
 */
export class TwinLink {
  readonly #parts: TwinLinkParts
  #channel: TwinChannel | undefined
  /** What the twin has; `null` until it was read on this connection. */
  #reported: TwinProperties | null = null
  #desired: TwinProperties = {}
  /** The window the twin has named last, as text; a twin that was never read has named none. */
  #window = 'null'
  #reporting = false
  #retryMs = retryMs.first
  #cancelRetry: () => void = () => undefined

  constructor(parts: TwinLinkParts) {
    this.#parts = parts
  }

  /** The connection of this moment; `undefined` while there is none, or none that has a twin. */
  attach(channel: TwinChannel | undefined): void {
    if (channel === this.#channel) return
    this.#cancelRetry()
    this.#channel = channel
    this.#reported = null
    this.#retryMs = retryMs.first
    if (channel !== undefined) void this.#read(channel)
  }

  /** Something may have changed. */
  refresh(): void {
    if (this.#channel !== undefined && this.#reported !== null && !this.#reporting)
      void this.#report(this.#channel)
  }

  async #read(channel: TwinChannel): Promise<void> {
    try {
      const { desired, reported } = await channel.read((patch) => {
        if (channel === this.#channel) this.#want(patched(this.#desired, patch))
      })
      if (channel !== this.#channel) return
      this.#reported = sectionOf(reported)
      this.#want(desired)
      this.refresh()
    } catch (error) {
      this.#failed(channel, error, () => void this.#read(channel))
    }
  }

  async #report(channel: TwinChannel): Promise<void> {
    this.#reporting = true
    try {
      while (channel === this.#channel && this.#reported !== null) {
        const reported = this.#reported
        const patch = patchBetween(reported, this.#wanted(reported))
        if (patch === undefined) break
        await channel.report({ [section]: patch })
        if (channel === this.#channel) this.#reported = patched(reported, patch)
        this.#retryMs = retryMs.first
      }
    } catch (error) {
      this.#failed(channel, error, () => this.refresh())
    } finally {
      this.#reporting = false
    }
    // The connection has changed meanwhile.
    if (channel !== this.#channel) this.refresh()
  }

  /** What this process knows nothing of stays as it is. */
  #wanted(reported: TwinProperties): TwinProperties {
    return { ...reported, ...this.#parts.report() }
  }

  #want(desired: TwinProperties): void {
    this.#desired = desired
    const { rollWindow = null } = sectionOf(desired)
    const text = JSON.stringify(rollWindow)
    if (text === this.#window) return
    this.#window = text
    if (rollWindow === null) return this.#parts.onWindow(null)
    const window = windowOf(rollWindow)
    if (window !== undefined) return this.#parts.onWindow(window)
    this.#parts.problem(
      new LeafkeeperError('TWIN_INVALID', {
        message: `Expected the desired property ${section}.rollWindow to be ${windowExpected}, with or without "mode": "expiry" or "breach"; got ${text}.`,
      }),
    )
  }

  #failed(channel: TwinChannel, error: unknown, again: () => void): void {
    // The end of a connection is told by those whom it matters to.
    if (
      channel !== this.#channel ||
      (error instanceof LeafkeeperError && error.code === 'HUB_CONNECTION_LOST')
    )
      return
    const { clock, problem } = this.#parts
    problem(
      error instanceof LeafkeeperError
        ? error
        : new LeafkeeperError('TWIN_UNAVAILABLE', { message: messageOf(error), cause: error }),
    )
    this.#cancelRetry()
    this.#cancelRetry = clock.wakeAt(clock.now() + this.#retryMs, again)
    this.#retryMs = Math.min(2 * this.#retryMs, retryMs.last)
  }
}

function sectionOf(properties: TwinProperties): TwinProperties {
  const value = properties[section]
  return typeof value === 'object' && value !== null ? (value as TwinProperties) : {}
}

function windowOf(value: unknown): RollWindow | undefined {
  const read = readWindow(value)
  const { mode = 'expiry' } = value as { mode?: unknown }
  if (read === undefined || (mode !== 'expiry' && mode !== 'breach')) return undefined
  return { start: read.start.getTime(), end: read.end.getTime(), mode, source: 'twin' }
}
