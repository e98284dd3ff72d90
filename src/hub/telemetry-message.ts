import azureCommon from 'azure-iot-common'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { DeviceMessage } from './hub-transport.ts'

/** A device-to-cloud message may have 256 KiB, its properties included (IoT Hub quotas and throttling). */
const largestMessage = 256 * 1024
const largestProperties = 8 * 1024
const longestMessageId = 128

/**
 * The size that counts against the hub's limits, in bytes: the body and the properties as they travel in the topic.
 *
 * @throws LeafkeeperError `MESSAGE_INVALID`
 */
export function measure(message: DeviceMessage): number {
  const body = sizeOfBody(message.body)
  const properties = sizeOfProperties(message)
  if (properties > largestProperties) {
    throw invalid(`Its properties take ${properties} bytes; 8 KiB are allowed.`)
  }
  if (body + properties > largestMessage) {
    throw invalid(`It takes ${body + properties} bytes; 256 KiB are allowed.`)
  }
  return body + properties
}

/**
 * The message in the terms of the official client.
 *
 * @throws LeafkeeperError `MESSAGE_INVALID`
 */
export function telemetryOf(message: DeviceMessage & { readonly messageId: string }): azureCommon.Message {
  measure(message)
  const telemetry = new azureCommon.Message(bodyOf(message.body))
  telemetry.messageId = message.messageId
  if (message.correlationId !== undefined) telemetry.correlationId = message.correlationId
  // The SDK's types know two values; the hub takes any.
  const free = telemetry as { contentType: string | undefined; contentEncoding: string | undefined }
  free.contentType = message.contentType
  free.contentEncoding = message.contentEncoding
  for (const [name, value] of Object.entries(message.properties ?? {})) telemetry.properties.add(name, value)
  return telemetry
}

function bodyOf(body: string | Uint8Array): string | Buffer {
  if (typeof body === 'string') return body
  const bytes = Buffer.from(body.buffer, body.byteOffset, body.byteLength)
  // For its debug log the SDK turns every message into JSON, whether anybody reads the log or not; a number for each
  // byte of a large body would hold up the event loop.
  return Object.defineProperty(bytes, 'toJSON', { value: () => `${bytes.length} bytes` })
}

function sizeOfBody(body: unknown): number {
  if (typeof body === 'string') return Buffer.byteLength(body)
  if (body instanceof Uint8Array) return body.byteLength
  throw invalid('Its body is neither text nor bytes.')
}

function sizeOfProperties(message: DeviceMessage): number {
  const { messageId, correlationId, contentType, contentEncoding } = message
  if (messageId !== undefined && (messageId === '' || messageId.length > longestMessageId)) {
    throw invalid(`Its message id must have 1 to ${longestMessageId} characters.`)
  }
  const properties = Object.entries(message.properties ?? {})
  for (const [name] of properties) {
    // System properties travel under such names.
    if (name === '' || name.startsWith('$.')) throw invalid(`${JSON.stringify(name)} is not a property name.`)
  }
  const system = { '$.mid': messageId, '$.cid': correlationId, '$.ct': contentType, '$.ce': contentEncoding }
  let size = 0
  for (const [name, value] of [...Object.entries(system), ...properties]) {
    if (value === undefined) continue
    if (typeof value !== 'string') throw invalid(`Its property ${JSON.stringify(name)} is not text.`)
    size += encodedLength(name) + encodedLength(value) + 2
  }
  return size
}

function encodedLength(text: string): number {
  try {
    return encodeURIComponent(text).length
  } catch (error) {
    throw invalid(`A property is not valid Unicode: ${messageOf(error)}.`)
  }
}

function invalid(message: string): LeafkeeperError {
  return new LeafkeeperError('MESSAGE_INVALID', { message: `The message cannot be sent. ${message}` })
}
