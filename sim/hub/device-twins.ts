import type { CloudEvents } from '../events.ts'
import type { JsonObject } from './json.ts'
import { TwinStore, type StoredTwin, type Twin, type TwinChange } from './twin.ts'

/** What twins need of their hub. */
export interface TwinTools {
  readonly hostName: string
  readonly events: CloudEvents
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** Tells a device what is wanted of it, if it listens for that. */
  tellDesired(deviceId: string, topic: string, body: string): void
}

/** The twins of one hub's devices: every change is reported as an event, and devices hear of what is wanted of them. */
export class DeviceTwins {
  readonly #tools: TwinTools
  readonly #store: TwinStore

  constructor(tools: TwinTools) {
    this.#tools = tools
    this.#store = new TwinStore(tools.now)
  }

  get(deviceId: string): Twin {
    return this.#store.get(deviceId)
  }

  /** With versions, ETag and metadata. */
  stored(deviceId: string): StoredTwin {
    return this.#store.stored(deviceId)
  }

  /** A service writes. @throws ServiceError 412 for another version, 400 when it would be too large */
  write(deviceId: string, change: TwinChange, how: 'merge' | 'replace', ifMatch?: string): void {
    const desired = this.#store.write(deviceId, change, how, ifMatch)
    this.#changed(deviceId, 'service')
    if (desired === undefined) return
    const topic = `$iothub/twin/PATCH/properties/desired/?$version=${desired.$version}`
    this.#tools.tellDesired(deviceId, topic, JSON.stringify(desired))
  }

  /** Puts a twin in place; what is left out is empty. */
  put(deviceId: string, twin: Partial<Twin>): void {
    this.#store.put(deviceId, twin)
    this.#changed(deviceId, 'service')
  }

  /** The device reports. @returns the new version of the reported properties @throws ServiceError 400 too large */
  report(deviceId: string, patch: JsonObject): number {
    const version = this.#store.report(deviceId, patch)
    this.#changed(deviceId, 'device')
    return version
  }

  delete(deviceId: string): void {
    this.#store.delete(deviceId)
  }

  snapshot(): Readonly<Record<string, StoredTwin>> {
    return this.#store.snapshot()
  }

  restore(snapshot: Readonly<Record<string, StoredTwin>>): void {
    this.#store.restore(snapshot)
  }

  #changed(deviceId: string, by: 'service' | 'device'): void {
    const { events, hostName } = this.#tools
    events.emit('twinChanged', { hub: hostName, deviceId, by })
  }
}
