import { isObject, type JsonObject } from './json.ts'

/** When a property was last written: for itself, and under the names below it. */
export interface PropertyMetadata {
  readonly $lastUpdated: string
  /** Only desired properties have it. */
  readonly $lastUpdatedVersion?: number
  readonly [name: string]: PropertyMetadata | string | number | undefined
}

/** What a write leaves behind: the metadata of a property that has nothing below it. */
export type Stamp = PropertyMetadata

/** JSON merge patch (RFC 7396): null deletes, objects merge, everything else replaces. */
export function merge(target: JsonObject, patch: JsonObject): JsonObject {
  const merged = new Map(Object.entries(target))
  for (const [name, value] of Object.entries(patch)) {
    const before = merged.get(name)
    if (value === null) merged.delete(name)
    else if (isObject(value)) merged.set(name, merge(isObject(before) ? before : {}, value))
    else merged.set(name, value)
  }
  // fromEntries makes own properties, whatever they are called.
  return Object.fromEntries(merged)
}

/** The metadata after a patch: what the patch names is stamped, what it deletes is forgotten. */
export function mergeMetadata(before: PropertyMetadata, patch: JsonObject, stamp: Stamp): PropertyMetadata {
  const merged = new Map(Object.entries(before))
  for (const [name, value] of Object.entries(patch)) {
    const old = merged.get(name)
    if (value === null) merged.delete(name)
    else if (isObject(value)) merged.set(name, mergeMetadata(isMetadata(old) ? old : stamp, value, stamp))
    else merged.set(name, { ...stamp })
  }
  return { ...Object.fromEntries(merged), ...stamp }
}

function isMetadata(value: PropertyMetadata | string | number | undefined): value is PropertyMetadata {
  return typeof value === 'object'
}
