import { ServiceError } from '../errors.ts'
import type { JsonObject } from './json.ts'
import { merge, mergeMetadata, type PropertyMetadata } from './merge-patch.ts'
import { checkSize } from './twin-patch.ts'

/** One half of a twin, with its version. */
export interface TwinSection {
  readonly $version: number
  readonly [name: string]: unknown
}

/** What device and cloud tell each other about the state of the device. */
export interface Twin {
  /** What the cloud notes about the device; the device does not see it. */
  readonly tags: JsonObject
  readonly desired: TwinSection
  readonly reported: TwinSection
}

/** One half of a twin as it is kept. */
export interface StoredSection {
  readonly version: number
  readonly properties: JsonObject
  readonly metadata: PropertyMetadata
}

/** A twin as it is kept: JSON. */
export interface StoredTwin {
  /** Changes with the tags and the desired properties. */
  readonly etag: string
  /** Counts every change. */
  readonly version: number
  readonly tags: JsonObject
  readonly desired: StoredSection
  readonly reported: StoredSection
}

/** What a service writes. */
export interface TwinChange {
  readonly tags?: JsonObject
  readonly desired?: JsonObject
}

// Azure's limits, in bytes of JSON.
const largestSection = 32 * 1024
const largestTags = 8 * 1024

/** The twins of one hub's devices. A twin is made when it is first asked for. */
export class TwinStore {
  readonly #twins = new Map<string, StoredTwin>()
  readonly #now: () => number

  /** @param now - milliseconds since 1970 */
  constructor(now: () => number) {
    this.#now = now
  }

  get(deviceId: string): Twin {
    const { tags, desired, reported } = this.stored(deviceId)
    return { tags, desired: shown(desired), reported: shown(reported) }
  }

  stored(deviceId: string): StoredTwin {
    const twin = this.#twins.get(deviceId)
    if (twin !== undefined) return twin
    const made = fresh({}, this.#instant())
    this.#twins.set(deviceId, made)
    return made
  }

  /** Merges a patch into what the device reports. @returns the new version @throws ServiceError 400 too large */
  report(deviceId: string, patch: JsonObject): number {
    const twin = this.stored(deviceId)
    const reported = patched(twin.reported, patch, { $lastUpdated: this.#instant() })
    checkSize(reported.properties, largestSection, 'Reported properties')
    this.#twins.set(deviceId, { ...twin, version: twin.version + 1, reported })
    return reported.version
  }

  /**
   * Merges what a service writes, or puts it in the place of all tags and desired properties.
   *
   * @returns the desired properties as they are to be sent to the device; `undefined` when they have not changed
   * @throws ServiceError 412 when the twin is not the version with that ETag, 400 when it would be too large
   */
  write(
    deviceId: string,
    change: TwinChange,
    how: 'merge' | 'replace',
    ifMatch = '*',
  ): TwinSection | undefined {
    const twin = this.stored(deviceId)
    if (ifMatch !== '*' && ifMatch !== twin.etag) {
      throw new ServiceError(412, 412001, `The twin of "${deviceId}" has ETag ${twin.etag}, not ${ifMatch}.`)
    }
    const before = how === 'merge' ? twin : { ...twin, ...emptied(twin, this.#instant()) }
    const tags = merge(before.tags, change.tags ?? {})
    const wanted = change.desired ?? (how === 'replace' ? {} : undefined)
    const version = twin.desired.version + 1
    const desired =
      wanted === undefined
        ? twin.desired
        : patched(before.desired, wanted, { $lastUpdated: this.#instant(), $lastUpdatedVersion: version })
    checkSize(tags, largestTags, 'Tags')
    checkSize(desired.properties, largestSection, 'Desired properties')
    const next = twin.version + 1
    this.#twins.set(deviceId, { ...twin, tags, desired, version: next, etag: etagOf(next) })
    return wanted === undefined ? undefined : { ...wanted, $version: desired.version }
  }

  /** Puts a twin in place, such as the one a device had on another hub. */
  put(deviceId: string, twin: { tags?: JsonObject; desired?: JsonObject; reported?: JsonObject }): void {
    this.#twins.set(deviceId, fresh(twin, this.#instant()))
  }

  delete(deviceId: string): void {
    this.#twins.delete(deviceId)
  }

  snapshot(): Readonly<Record<string, StoredTwin>> {
    return Object.fromEntries(this.#twins)
  }

  restore(snapshot: Readonly<Record<string, StoredTwin>>): void {
    this.#twins.clear()
    for (const [deviceId, twin] of Object.entries(snapshot)) this.#twins.set(deviceId, twin)
  }

  #instant(): string {
    return new Date(this.#now()).toISOString()
  }
}

function shown({ properties, version }: StoredSection): TwinSection {
  return { ...properties, $version: version }
}

function patched(
  section: StoredSection,
  patch: JsonObject,
  stamp: { readonly $lastUpdated: string; readonly $lastUpdatedVersion?: number },
): StoredSection {
  return {
    version: section.version + 1,
    properties: merge(section.properties, patch),
    metadata: mergeMetadata(section.metadata, patch, stamp),
  }
}

function emptied(twin: StoredTwin, at: string): Pick<StoredTwin, 'tags' | 'desired'> {
  const { version } = twin.desired
  return { tags: {}, desired: { version, properties: {}, metadata: { $lastUpdated: at } } }
}

function fresh(
  {
    tags = {},
    desired = {},
    reported = {},
  }: { tags?: JsonObject; desired?: JsonObject; reported?: JsonObject },
  at: string,
): StoredTwin {
  return {
    etag: etagOf(1),
    version: 2,
    tags,
    desired: section(desired, at, true),
    reported: section(reported, at, false),
  }
}

function section(given: JsonObject, at: string, isDesired: boolean): StoredSection {
  const { $version, $metadata: _, ...properties } = given
  const version = typeof $version === 'number' ? $version : 1
  const stamp = { $lastUpdated: at, ...(isDesired ? { $lastUpdatedVersion: version } : {}) }
  return { version, properties, metadata: mergeMetadata(stamp, properties, stamp) }
}

/** As Azure's look: a counter of eight bytes in Base64. */
function etagOf(count: number): string {
  const bytes = Buffer.alloc(8)
  bytes.writeBigUInt64BE(BigInt(count))
  return bytes.toString('base64')
}
