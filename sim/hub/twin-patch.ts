import { ServiceError } from '../errors.ts'
import { isObject, parseJson, type JsonObject } from './json.ts'

// Azure's limits for one half of a twin, and for its tags.
const largestPatch = 32 * 1024
const deepestPatch = 10
const longestString = 4096
const longestName = 1024
// eslint-disable-next-line no-control-regex -- exactly the characters that Azure forbids
const forbiddenInNames = /[\u0000-\u001f\u0080-\u009f. $]/

/** Reads a patch that a device has sent. @throws ServiceError 400 when it is no JSON object, too large or too deep */
export function readPatch(body: Buffer): JsonObject {
  if (body.length > largestPatch) {
    throw new ServiceError(400, 400004, `A patch has at most ${largestPatch} bytes, not ${body.length}.`)
  }
  return checkPatch(parseJson(body.toString()))
}

/** Checks one half of a twin, or a patch for it. @throws ServiceError 400 */
export function checkPatch(patch: unknown, what = 'A patch'): JsonObject {
  if (!isObject(patch) || '$version' in patch) {
    throw new ServiceError(400, 400004, `${what}: expected a JSON object without $version.`)
  }
  const mistake = mistakeIn(patch, deepestPatch)
  if (mistake !== undefined) throw new ServiceError(400, 400004, `${what} ${mistake}`)
  return patch
}

/** @throws ServiceError 400 when a section has grown beyond what Azure keeps */
export function checkSize(section: JsonObject, limit: number, what: string): void {
  const size = Buffer.byteLength(JSON.stringify(section))
  if (size > limit) throw new ServiceError(400, 400004, `${what}: at most ${limit} bytes, not ${size}.`)
}

function mistakeIn(value: unknown, levels: number): string | undefined {
  if (typeof value === 'string') {
    return value.length > longestString ? `has strings of at most ${longestString} characters.` : undefined
  }
  if (typeof value !== 'object' || value === null) return undefined
  if (levels <= 0) return `is at most ${deepestPatch} levels deep.`
  for (const [name, member] of Object.entries(value) as [string, unknown][]) {
    if (name.length > longestName || forbiddenInNames.test(name)) {
      return 'has names without control characters, dots, spaces and $.'
    }
    const mistake = mistakeIn(member, levels - 1)
    if (mistake !== undefined) return mistake
  }
  return undefined
}
