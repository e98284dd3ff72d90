import { ServiceError } from '../../errors.ts'
import { isObject, type JsonObject } from '../json.ts'
import { checkPatch } from '../twin-patch.ts'
import type { TwinChange } from '../twin.ts'

/**
 * Reads what a service writes to a twin: tags and desired properties. What it sends back unchanged from a twin that
 * it has read ($metadata, $version, reported properties) is left out, as Azure does.
 *
 * @throws ServiceError 400
 */
export function readTwinChange(body: JsonObject): TwinChange {
  const { tags, properties } = body
  if (properties !== undefined && !isObject(properties)) throw invalid('properties: expected an object.')
  const desired = properties?.['desired']
  return {
    ...(tags === undefined ? {} : { tags: checkPatch(withoutSystem(tags, 'tags'), 'Tags') }),
    ...(desired === undefined
      ? {}
      : { desired: checkPatch(withoutSystem(desired, 'properties.desired'), 'Desired properties') }),
  }
}

function withoutSystem(section: unknown, what: string): JsonObject {
  if (!isObject(section)) throw invalid(`${what}: expected an object.`)
  const { $metadata: _metadata, $version: _version, ...rest } = section
  return rest
}

function invalid(message: string): ServiceError {
  return new ServiceError(400, 400004, message)
}
