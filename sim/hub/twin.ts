import { ServiceError } from '../errors.ts'

/** A JSON object. */
export type JsonObject = Readonly<Record<string, unknown>>

/** One half of a twin, with its version. */
export interface TwinSection {
  readonly $version: number
  readonly [name: string]: unknown
}

/** What device and cloud tell each other about the state of the device. */
export interface Twin {
  readonly desired: TwinSection
  readonly reported: TwinSection
}

/** The twins of one hub's devices. A twin is made when it is first asked for. */
export class TwinStore {
  readonly #twins = new Map<string, Twin>()

  get(deviceId: string): Twin {
    return this.#twins.get(deviceId) ?? { desired: { $version: 1 }, reported: { $version: 1 } }
  }

  /** Merges a patch into what the device reports. @returns the new version */
  report(deviceId: string, patch: JsonObject): number {
    const twin = this.get(deviceId)
    const reported = patched(twin.reported, patch)
    this.#twins.set(deviceId, { ...twin, reported })
    return reported.$version
  }

  /** Merges a patch into what is wanted of the device. @returns the new version */
  desire(deviceId: string, patch: JsonObject): number {
    const twin = this.get(deviceId)
    const desired = patched(twin.desired, patch)
    this.#twins.set(deviceId, { ...twin, desired })
    return desired.$version
  }

  put(deviceId: string, twin: Twin): void {
    this.#twins.set(deviceId, twin)
  }

  delete(deviceId: string): void {
    this.#twins.delete(deviceId)
  }
}

// Azure's limits for one half of a twin.
const largestPatch = 32 * 1024
const deepestPatch = 10

/** Reads a patch that a device has sent. @throws ServiceError 400 when it is no JSON object, too large or too deep */
export function readPatch(body: Buffer): JsonObject {
  if (body.length > largestPatch) {
    throw new ServiceError(400, 400004, `A patch has at most ${largestPatch} bytes, not ${body.length}.`)
  }
  const patch = parse(body)
  if (!isObject(patch) || '$version' in patch) {
    throw new ServiceError(400, 400004, 'Expected a JSON object without $version.')
  }
  if (!isWithin(patch, deepestPatch)) {
    throw new ServiceError(400, 400004, `A patch is at most ${deepestPatch} levels deep.`)
  }
  return patch
}

function parse(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString())
  } catch {
    return undefined
  }
}

function isWithin(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return true
  return levels > 0 && Object.values(value).every((member) => isWithin(member, levels - 1))
}

function patched(section: TwinSection, patch: JsonObject): TwinSection {
  const { $version, ...properties } = section
  return { ...merge(properties, patch), $version: $version + 1 }
}

/** JSON merge patch (RFC 7396): null deletes, objects merge, everything else replaces. */
function merge(target: JsonObject, patch: JsonObject): JsonObject {
  const merged = new Map(Object.entries(target))
  for (const [name, value] of Object.entries(patch)) {
    const before = merged.get(name)
    if (value === null) merged.delete(name)
    else if (isObject(value)) merged.set(name, merge(isObject(before) ? before : {}, value))
    else merged.set(name, value)
  }
  return Object.fromEntries(merged)
}

function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
