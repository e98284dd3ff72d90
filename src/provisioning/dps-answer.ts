import type { DeviceId } from '../brands.ts'
import { LeafkeeperError, type LeafkeeperErrorDetails } from '../errors.ts'
import type { IncomingMessage } from '../transport/guarded-mqtt-base.ts'
import { nameOf, type Service } from '../transport/service.ts'
import type { Registration } from './provisioning-service.ts'

/** The longest pause that is taken from DPS, in seconds; longer ones are cut, as timers overflow after 24 days. */
const longestPauseSeconds = 86_400

/** One answer of DPS, read and checked. */
export type DpsAnswer =
  /** Ask again after a pause: `undefined` where DPS named none. */
  | {
      readonly kind: 'pending'
      readonly body: Readonly<Record<string, unknown>>
      readonly retryAfterSeconds: number | undefined
    }
  | {
      readonly kind: 'assigned'
      readonly body: Readonly<Record<string, unknown>>
      readonly registration: Registration
      /** What was issued, as it came: Base64 of the DER of each certificate, the leaf first; preview. */
      readonly issuedChain: unknown
    }
  | { readonly kind: 'refused'; readonly error: LeafkeeperError }

/** The request id of a response topic, or `undefined` where the topic is not a response. */
export function requestIdOf(topic: string): string | undefined {
  const query = /^\$dps\/registrations\/(?:res\/[^/]*|[^?]*)\/\?(.*)$/.exec(topic)?.[1]
  return query === undefined ? undefined : (new URLSearchParams(query).get('$rid') ?? undefined)
}

/** Reads an answer over MQTT: `$dps/registrations/res/{status}/?$rid={rid}[&retry-after={seconds}]` with a body. */
export function readAnswer({ topic, payload }: IncomingMessage, service: Service): DpsAnswer {
  const match = /^\$dps\/registrations\/res\/([^/]*)\/\?(.*)$/.exec(topic)
  const status = match?.[1] ?? ''
  const retryAfter = new URLSearchParams(match?.[2]).get('retry-after')
  return readResponse({ status, retryAfter: retryAfter ?? undefined, body: payload }, service)
}

/** An answer, as MQTT and HTTPS have it in common. */
export interface DpsResponse {
  /** As it was sent, which may be no number. */
  readonly status: string | number
  /** In seconds, as it was sent. */
  readonly retryAfter: string | undefined
  readonly body: Buffer
}

/**
 * Reads an answer of DPS: a status with a JSON body. Whatever the official client cannot stand (no JSON, no status, 429
 * and above) comes out as an error.
 */
export function readResponse(response: DpsResponse, service: Service): DpsAnswer {
  const status = Number(response.status)
  const retryAfterSeconds = readSeconds(response.retryAfter)
  const body = readBody(response.body)
  if (Number.isInteger(status) && status >= 400) {
    return refused(errorOfStatus(status, body, retryAfterSeconds, service))
  }
  if (!Number.isInteger(status) || status < 200 || status >= 300) {
    return refused(notTheProtocol(service, `status ${JSON.stringify(response.status)}`))
  }
  if (body === undefined) return refused(notTheProtocol(service, 'a body that is not a JSON object'))
  return readState(body, retryAfterSeconds, service)
}

function readState(
  body: Readonly<Record<string, unknown>>,
  retryAfterSeconds: number | undefined,
  service: Service,
): DpsAnswer {
  const status = typeof body['status'] === 'string' ? body['status'].toLowerCase() : ''
  const state = isRecord(body['registrationState']) ? body['registrationState'] : {}
  switch (status) {
    case 'registering':
      return { kind: 'pending', body, retryAfterSeconds }
    case 'assigning':
      return typeof body['operationId'] === 'string' && body['operationId'] !== ''
        ? { kind: 'pending', body, retryAfterSeconds }
        : refused(notTheProtocol(service, 'the status assigning without an operation id'))
    case 'assigned': {
      const { assignedHub, deviceId, substatus, payload } = state
      if (!isText(assignedHub) || !isText(deviceId)) {
        return refused(notTheProtocol(service, 'an assignment without a hub and a device id'))
      }
      const registration: Registration = {
        assignedHub,
        deviceId: deviceId as DeviceId,
        substatus: isText(substatus) ? substatus : undefined,
        payload,
      }
      return { kind: 'assigned', body, registration, issuedChain: state['issuedCertificateChain'] }
    }
    case 'disabled':
      return refused(new LeafkeeperError('DPS_DISABLED', say(state, service, 'disabled')))
    case 'failed':
      return refused(errorOfFailure(state, service))
    default:
      return refused(notTheProtocol(service, `the status ${JSON.stringify(body['status'])}`))
  }
}

function errorOfStatus(
  status: number,
  body: Readonly<Record<string, unknown>> | undefined,
  retryAfterSeconds: number | undefined,
  service: Service,
): LeafkeeperError {
  const pause = retryAfterSeconds === undefined ? {} : { retryAfterMs: retryAfterSeconds * 1000 }
  const details = say(body ?? {}, service, String(status))
  if (status === 401) return new LeafkeeperError('DPS_UNAUTHORIZED', details)
  if (status === 404) return new LeafkeeperError('DPS_NOT_FOUND', details)
  if (status === 429) return new LeafkeeperError('DPS_THROTTLED', { ...details, ...pause })
  if (status >= 500) return new LeafkeeperError('DPS_UNAVAILABLE', { ...details, ...pause })
  return new LeafkeeperError('DPS_REFUSED', { ...details, ...pause, retryable: passes(status) })
}

/** DPS reached the point of writing to a hub, and gives up: the code of what failed stands in the state. */
function errorOfFailure(state: Readonly<Record<string, unknown>>, service: Service): LeafkeeperError {
  const details = say(state, service, 'failed')
  const status = Math.floor(Number(details.reason) / 1000)
  // 401002 also stands for DPS itself having no right to write to the linked hub; that is not the device's fault.
  if (status === 401 && !/IotHubUnauthorizedAccess/i.test(details.message)) {
    return new LeafkeeperError('DPS_UNAUTHORIZED', details)
  }
  return new LeafkeeperError('DPS_REGISTRATION_FAILED', { ...details, retryable: passes(status) })
}

/** Conflicts and failures of a server pass; other refusals stay until somebody changes something. */
function passes(status: number): boolean {
  return [408, 409, 412, 429].includes(status) || status >= 500
}

/** The code and message of DPS, which stand in an error body and in a registration state under the same names. */
function say(
  from: Readonly<Record<string, unknown>>,
  service: Service,
  status: string,
): LeafkeeperErrorDetails & { readonly message: string; readonly reason: string } {
  const code = typeof from['errorCode'] === 'number' ? from['errorCode'] : undefined
  const text = [from['message'], from['errorMessage']].find(isText)
  const tracking = isText(from['trackingId']) ? `, tracking id ${from['trackingId']}` : ''
  const said = text === undefined ? 'without a message' : `"${text.slice(0, 500)}"`
  return {
    reason: String(code ?? status),
    message: `${nameOf(service)} answered ${status}${code === undefined ? '' : `, error code ${code}`}${tracking}: ${said}.`,
  }
}

/** DPS has answered something that nobody can go on with. */
export function notTheProtocol(service: Service, what: string): LeafkeeperError {
  return new LeafkeeperError('PROTOCOL_ERROR', {
    message: `${nameOf(service)} answered a registration with ${what}.`,
  })
}

/** The JSON object in a body; `undefined` where there is none. */
export function readBody(payload: Buffer): Readonly<Record<string, unknown>> | undefined {
  try {
    const body: unknown = JSON.parse(payload.toString('utf8'))
    return isRecord(body) ? body : undefined
  } catch {
    return undefined
  }
}

function readSeconds(text: string | undefined): number | undefined {
  if (text === undefined || !/^\d+$/.test(text)) return undefined
  return Math.min(Number(text), longestPauseSeconds)
}

function refused(error: LeafkeeperError): DpsAnswer {
  return { kind: 'refused', error }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function isText(value: unknown): value is string {
  return typeof value === 'string' && value !== ''
}
