import type { TwinProperties } from '../twin-channel.ts'

/** What a JSON merge patch makes of properties (RFC 7396, 2). */
export function patched(target: TwinProperties, patch: TwinProperties): TwinProperties {
  const result = new Map(Object.entries(target))
  for (const [name, value] of Object.entries(patch)) {
    if (value === null) result.delete(name)
    else result.set(name, isProperties(value) ? patched(propertiesOr(result.get(name)), value) : value)
  }
  return Object.fromEntries(result)
}

/** The JSON merge patch that turns one into the other; `undefined` where there is nothing to change. */
export function patchBetween(from: TwinProperties, to: TwinProperties): TwinProperties | undefined {
  const changes: Record<string, unknown> = {}
  for (const name of new Set([...Object.keys(from), ...Object.keys(to)])) {
    const [before, after] = [from[name], to[name] ?? null]
    if (after === null) {
      if (before !== undefined && before !== null) changes[name] = null
    } else if (isProperties(after)) {
      const inner = patchBetween(propertiesOr(before), after)
      if (inner !== undefined) changes[name] = inner
      else if (!isProperties(before)) changes[name] = after
    } else if (JSON.stringify(before) !== JSON.stringify(after)) changes[name] = after
  }
  return Object.keys(changes).length === 0 ? undefined : changes
}

function isProperties(value: unknown): value is TwinProperties {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function propertiesOr(value: unknown): TwinProperties {
  return isProperties(value) ? value : {}
}
