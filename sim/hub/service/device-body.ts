import { ServiceError } from '../../errors.ts'
import { isObject, type JsonObject } from '../json.ts'
import type { DeviceAuthenticationDescription, DeviceDescription } from '../device-record.ts'
import { normalizeThumbprint } from '../../pki/thumbprint.ts'

const longestReason = 128

/** Reads a device, as `PUT /devices/{id}` and the bulk operation have it. @throws ServiceError 400 */
export function readDevice(deviceId: string, body: JsonObject): DeviceDescription {
  const { status = 'enabled', statusReason = null, authentication, capabilities } = body
  if (status !== 'enabled' && status !== 'disabled') throw invalid('status: expected enabled or disabled.')
  if (statusReason !== null && (typeof statusReason !== 'string' || statusReason.length > longestReason)) {
    throw invalid(`statusReason: expected a string of at most ${longestReason} characters.`)
  }
  if (capabilities !== undefined && capabilities !== null && !isObject(capabilities)) {
    throw invalid('capabilities: expected an object.')
  }
  return {
    deviceId,
    status,
    statusReason,
    authentication: readAuthentication(authentication),
    capabilities: { iotEdge: isObject(capabilities) && capabilities['iotEdge'] === true },
  }
}

/** Without a type, thumbprints make a device self-signed, and their absence gives it keys. */
function readAuthentication(authentication: unknown): DeviceAuthenticationDescription {
  if (authentication === undefined || authentication === null) return { type: 'sas' }
  if (!isObject(authentication)) throw invalid('authentication: expected an object.')
  const thumbprints = readPair(authentication, 'x509Thumbprint', ['primaryThumbprint', 'secondaryThumbprint'])
  const keys = readPair(authentication, 'symmetricKey', ['primaryKey', 'secondaryKey'])
  const [primaryThumbprint, secondaryThumbprint] = thumbprints
  const [primaryKey, secondaryKey] = keys
  for (const thumbprint of thumbprints) {
    if (thumbprint !== null && !/^(?:[0-9A-F]{40}|[0-9A-F]{64})$/.test(normalizeThumbprint(thumbprint))) {
      throw invalid('x509Thumbprint: expected SHA-1 or SHA-256 in hex.')
    }
  }
  const hasThumbprint = thumbprints.some((thumbprint) => thumbprint !== null)
  const type: unknown = authentication['type'] ?? (hasThumbprint ? 'selfSigned' : 'sas')
  switch (type) {
    case 'sas':
      return { type, symmetricKey: { primaryKey, secondaryKey } }
    case 'certificateAuthority':
      if (hasThumbprint) throw invalid('A device of an authority has no thumbprints.')
      return { type }
    case 'selfSigned':
      if (!hasThumbprint) throw invalid('A self-signed device needs a thumbprint.')
      return { type, x509Thumbprint: { primaryThumbprint, secondaryThumbprint } }
    default:
      throw invalid('authentication.type: expected sas, selfSigned or certificateAuthority.')
  }
}

/** Two strings of an object within; an empty one is none. */
function readPair(
  body: JsonObject,
  name: string,
  [one, other]: readonly [string, string],
): readonly [string | null, string | null] {
  const pair = body[name] ?? {}
  if (!isObject(pair)) throw invalid(`${name}: expected an object.`)
  const read = (key: string): string | null => {
    const value = pair[key] ?? ''
    if (typeof value !== 'string') throw invalid(`${name}.${key}: expected a string.`)
    return value === '' ? null : value
  }
  return [read(one), read(other)]
}

function invalid(message: string): ServiceError {
  return new ServiceError(400, 400004, message)
}
