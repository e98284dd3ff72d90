import { ProtocolViolation } from '../mqtt/session.ts'

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

/** Reads a patch that a device has sent. @throws ProtocolViolation when it is no JSON object */
export function readPatch(body: Buffer): JsonObject {
  try {
    const patch: unknown = JSON.parse(body.toString())
    if (isObject(patch)) return patch
  } catch {
    // Falls through to the same refusal.
  }
  throw new ProtocolViolation('A twin patch is a JSON object; something else came.')
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
