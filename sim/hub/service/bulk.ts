import { ServiceError } from '../../errors.ts'
import type { SimulatedHub } from '../hub.ts'
import { isObject, type JsonObject } from '../json.ts'
import { readDevice } from './device-body.ts'

const mostDevices = 100

/**
 * Changes several devices; one that fails does not keep the others from being changed.
 *
 * @param body - an array of `{ id, importMode, ... }`
 * @throws ServiceError 400 when it is none, or has more than a hundred
 */
export function changeInBulk(hub: SimulatedHub, body: unknown): JsonObject {
  if (!Array.isArray(body) || body.length === 0) {
    throw new ServiceError(400, 400004, 'Expected an array of devices.')
  }
  if (body.length > mostDevices) {
    throw new ServiceError(400, 400004, `At most ${mostDevices} devices at a time, not ${body.length}.`)
  }
  const errors = body.flatMap((entry: unknown) => {
    const deviceId = isObject(entry) && typeof entry['id'] === 'string' ? entry['id'] : ''
    try {
      changeOne(hub, deviceId, entry)
      return []
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      return [{ deviceId, errorCode: nameOf(error), errorStatus: error.message }]
    }
  })
  return { isSuccessful: errors.length === 0, errors, warnings: [] }
}

function changeOne({ registry }: SimulatedHub, deviceId: string, entry: unknown): void {
  if (!isObject(entry) || deviceId === '')
    throw new ServiceError(400, 400004, 'Expected a device with an id.')
  const { importMode = 'createOrUpdate', eTag, etag = eTag } = entry
  const ifMatch = typeof etag === 'string' ? etag : undefined
  switch (String(importMode).toLowerCase()) {
    case 'create':
      registry.create(readDevice(deviceId, entry))
      return
    case 'update':
      registry.update(deviceId, readDevice(deviceId, entry))
      return
    case 'updateifmatchetag':
      registry.update(deviceId, readDevice(deviceId, entry), required(ifMatch))
      return
    case 'createorupdate':
      if (registry.get(deviceId) === undefined) registry.create(readDevice(deviceId, entry))
      else registry.update(deviceId, readDevice(deviceId, entry))
      return
    case 'delete':
      registry.delete(deviceId)
      return
    case 'deleteifmatchetag':
      registry.delete(deviceId, required(ifMatch))
      return
    default:
      throw new ServiceError(400, 400004, `importMode: "${String(importMode)}" is none that this hub has.`)
  }
}

function required(etag: string | undefined): string {
  if (etag !== undefined) return etag
  throw new ServiceError(400, 400004, 'etag: expected a string.')
}

function nameOf({ status }: ServiceError): string {
  switch (status) {
    case 404:
      return 'DeviceNotFound'
    case 409:
      return 'DeviceAlreadyExists'
    case 412:
      return 'PreconditionFailed'
    default:
      return 'ArgumentInvalid'
  }
}
