import { ServiceError } from '../../errors.ts'
import type { JsonObject } from '../json.ts'
import type { MethodCall } from '../methods.ts'

// Azure's bounds, in seconds.
const longestConnect = 300
const shortestResponse = 5
const longestResponse = 300
const largestPayload = 128 * 1024

/** Reads a method call, as the body of `POST /twins/{id}/methods` and jobs have it. @throws ServiceError 400 */
export function readMethodCall(body: JsonObject): MethodCall {
  const { methodName, payload, responseTimeoutInSeconds = 30, connectTimeoutInSeconds = 0 } = body
  if (typeof methodName !== 'string') throw invalid('methodName: expected a string.')
  if (payload !== undefined && Buffer.byteLength(JSON.stringify(payload)) > largestPayload) {
    throw invalid(`payload: at most ${largestPayload} bytes.`)
  }
  return {
    methodName,
    ...(payload === undefined ? {} : { payload }),
    responseTimeoutMs:
      1000 * seconds('responseTimeoutInSeconds', responseTimeoutInSeconds, shortestResponse, longestResponse),
    connectTimeoutMs: 1000 * seconds('connectTimeoutInSeconds', connectTimeoutInSeconds, 0, longestConnect),
  }
}

function seconds(name: string, value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value
  throw invalid(`${name}: expected ${least} to ${most}, got ${JSON.stringify(value)}.`)
}

function invalid(message: string): ServiceError {
  return new ServiceError(400, 400004, message)
}
