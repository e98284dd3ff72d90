import { requestIdIn } from '../mqtt/request-id.ts'
import { ProtocolViolation } from '../mqtt/session.ts'

/** What a device may publish to a hub. */
export type DeviceTopic =
  | { readonly kind: 'telemetry'; readonly propertyBag: string }
  | { readonly kind: 'methodResponse'; readonly status: number; readonly requestId: string }
  | { readonly kind: 'twinGet'; readonly requestId: string }
  | { readonly kind: 'twinReported'; readonly requestId: string }
  /** Without a request id that can be answered, the request is dropped. */
  | { readonly kind: 'issueCertificate'; readonly requestId: string | undefined }

/** What a device may subscribe to. */
export type DeviceSubscription =
  'methods' | 'twinResponses' | 'desiredProperties' | 'cloudToDevice' | 'credentials'

/** The first version of the API that has `$iothub/credentials`. */
const credentialsSince = '2025-08-01-preview'

const methodResponse = /^\$iothub\/methods\/res\/(\d{1,9})\/\?(.*)$/
const twinGet = /^\$iothub\/twin\/GET\/\?(.*)$/
const issueCertificate = /^\$iothub\/credentials\/POST\/issueCertificate\/(?:\?(.*))?$/
/** How a device may name its request. */
export const credentialRequestId = /^[A-Za-z0-9][A-Za-z0-9-]{2,34}[A-Za-z0-9]$/
const twinReported = /^\$iothub\/twin\/PATCH\/properties\/reported\/\?(.*)$/

/** Who speaks, and which version of the API: later ones have more topics. */
export interface Speaker {
  readonly deviceId: string
  readonly apiVersion: string
}

/** Reads the topic of a publication. @throws ProtocolViolation for every topic that is not this device's to use */
export function parseTopic({ deviceId, apiVersion }: Speaker, topic: string): DeviceTopic {
  const events = `devices/${deviceId}/messages/events`
  if (topic.startsWith(`${events}/`))
    return { kind: 'telemetry', propertyBag: topic.slice(events.length + 1) }
  if (topic === events) return { kind: 'telemetry', propertyBag: '' }
  const method = methodResponse.exec(topic)
  if (method !== null) {
    return { kind: 'methodResponse', status: Number(method[1]), requestId: requestIdOf(method[2], topic) }
  }
  const get = twinGet.exec(topic)
  if (get !== null) return { kind: 'twinGet', requestId: requestIdOf(get[1], topic) }
  const reported = twinReported.exec(topic)
  if (reported !== null) return { kind: 'twinReported', requestId: requestIdOf(reported[1], topic) }
  const issue = issueCertificate.exec(topic)
  if (issue !== null && apiVersion >= credentialsSince) {
    const requestId = requestIdIn(issue[1] ?? '') ?? ''
    return {
      kind: 'issueCertificate',
      requestId: credentialRequestId.test(requestId) ? requestId : undefined,
    }
  }
  throw new ProtocolViolation(`"${topic}" is no topic that device "${deviceId}" may publish to.`)
}

/** Reads a topic filter. @throws ProtocolViolation for every filter that is not this device's to use */
export function parseSubscription(speaker: Speaker, filter: string): DeviceSubscription {
  const subscription = findSubscription(speaker, filter)
  if (subscription !== undefined) return subscription
  throw new ProtocolViolation(`"${filter}" is nothing that device "${speaker.deviceId}" may subscribe to.`)
}

/** What a topic filter means for this device, if anything. */
export function findSubscription(
  { deviceId, apiVersion }: Speaker,
  filter: string,
): DeviceSubscription | undefined {
  switch (filter) {
    case '$iothub/methods/POST/#':
      return 'methods'
    case '$iothub/twin/res/#':
      return 'twinResponses'
    case '$iothub/twin/PATCH/properties/desired/#':
      return 'desiredProperties'
    case `devices/${deviceId}/messages/devicebound/#`:
      return 'cloudToDevice'
    case '$iothub/credentials/res/#':
      return apiVersion >= credentialsSince ? 'credentials' : undefined
    default:
      return undefined
  }
}

function requestIdOf(parameters: string | undefined, topic: string): string {
  const requestId = requestIdIn(parameters ?? '')
  if (requestId === undefined) throw new ProtocolViolation(`"${topic}" has no request id ($rid).`)
  return requestId
}
