import { randomUUID } from 'node:crypto'
import { ServiceError } from '../errors.ts'
import {
  never,
  normalizeAuthentication,
  type DeviceAuthentication,
  type DeviceDescription,
  type DeviceRecord,
} from './device-record.ts'

/** What `update` may change. */
export type DeviceChange = Partial<Omit<DeviceDescription, 'deviceId'>>

/** Told after a record has been replaced, or deleted when `after` is undefined. */
export type RegistryListener = (before: DeviceRecord, after: DeviceRecord | undefined) => void

/** The registry of one hub, as JSON has it. */
export interface RegistrySnapshot {
  readonly devices: readonly DeviceRecord[]
  readonly generation: string
}

// Azure's rule: up to 128 characters of this set, in either case, and case matters.
const deviceIdRule = /^[A-Za-z0-9\-:.+%_#*?!(),=@;$']{1,128}$/

/**
 * The devices of one hub.
 *
 * @example
 * ```ts
 * const { registry } = cloud.hub('hub-a')
 * registry.update('device-1', { status: 'disabled' }) // its connection is cut at once
 * ```
 */
export class DeviceRegistry {
  readonly #devices = new Map<string, DeviceRecord>()
  readonly #onChange: RegistryListener
  readonly #now: () => number
  #generation = 0n

  /** @param now - milliseconds since 1970 */
  constructor(now: () => number, onChange: RegistryListener) {
    this.#now = now
    this.#onChange = onChange
  }

  get size(): number {
    return this.#devices.size
  }

  /** @throws ServiceError 409 when there is one of that name, 400 when the name cannot be one */
  create(description: DeviceDescription): DeviceRecord {
    const { deviceId } = description
    if (!deviceIdRule.test(deviceId)) {
      throw new ServiceError(
        400,
        400004,
        `"${deviceId}" is no device id: expected 1 to 128 letters, digits and -:.+%_#*?!(),=@;$'.`,
      )
    }
    if (this.#devices.has(deviceId)) {
      throw new ServiceError(409, 409001, `A device "${deviceId}" exists already.`)
    }
    const authentication = normalizeAuthentication(description.authentication)
    this.#generation += 1n
    const record: DeviceRecord = {
      deviceId,
      // Azure's are counted in ticks; only that they differ is promised.
      generationId: (638_000_000_000_000_000n + this.#generation).toString(),
      etag: newEtag(),
      status: description.status ?? 'enabled',
      statusReason: description.statusReason ?? null,
      statusUpdatedTime: never,
      connectionState: 'Disconnected',
      connectionStateUpdatedTime: never,
      lastActivityTime: never,
      authentication,
      capabilities: { iotEdge: description.capabilities?.iotEdge === true },
    }
    this.#devices.set(deviceId, record)
    return record
  }

  get(deviceId: string): DeviceRecord | undefined {
    return this.#devices.get(deviceId)
  }

  list(): readonly DeviceRecord[] {
    return [...this.#devices.values()]
  }

  /** @throws ServiceError 404 when there is none, 412 when it is not the version with that ETag */
  update(deviceId: string, change: DeviceChange, ifMatch?: string): DeviceRecord {
    const before = this.require(deviceId, ifMatch)
    const authentication: DeviceAuthentication =
      change.authentication === undefined
        ? before.authentication
        : normalizeAuthentication(change.authentication)
    const status = change.status ?? before.status
    const after: DeviceRecord = {
      ...before,
      etag: newEtag(),
      status,
      statusReason: change.statusReason === undefined ? before.statusReason : change.statusReason,
      statusUpdatedTime: status === before.status ? before.statusUpdatedTime : this.#instant(),
      authentication,
      capabilities: change.capabilities ?? before.capabilities,
    }
    this.#devices.set(deviceId, after)
    this.#onChange(before, after)
    return this.require(deviceId)
  }

  /** @throws ServiceError 404 when there is none, 412 when it is not the version with that ETag */
  delete(deviceId: string, ifMatch?: string): void {
    const before = this.require(deviceId, ifMatch)
    this.#devices.delete(deviceId)
    this.#onChange(before, undefined)
  }

  /** @throws ServiceError 404 when there is none, 412 when it is not the version with that ETag */
  require(deviceId: string, ifMatch = '*'): DeviceRecord {
    const record = this.#devices.get(deviceId)
    if (record === undefined) {
      throw new ServiceError(404, 404001, `ErrorCode:DeviceNotFound;There is no device "${deviceId}".`)
    }
    if (ifMatch !== '*' && ifMatch !== record.etag) {
      throw new ServiceError(412, 412001, `Device "${deviceId}" has ETag ${record.etag}, not ${ifMatch}.`)
    }
    return record
  }

  /** Notes that a device has come or gone; its ETag stays. */
  setConnectionState(deviceId: string, connectionState: DeviceRecord['connectionState']): void {
    const record = this.#devices.get(deviceId)
    if (record === undefined) return
    const at = this.#instant()
    this.#devices.set(deviceId, {
      ...record,
      connectionState,
      connectionStateUpdatedTime: at,
      lastActivityTime: at,
    })
  }

  snapshot(): RegistrySnapshot {
    return { devices: this.list(), generation: this.#generation.toString() }
  }

  /** Nobody is connected to what has just been restored. */
  restore(snapshot: RegistrySnapshot): void {
    this.#devices.clear()
    for (const record of snapshot.devices) {
      this.#devices.set(record.deviceId, { ...record, connectionState: 'Disconnected' })
    }
    this.#generation = BigInt(snapshot.generation)
  }

  #instant(): string {
    return new Date(this.#now()).toISOString()
  }
}

function newEtag(): string {
  return Buffer.from(randomUUID().slice(0, 13)).toString('base64')
}
