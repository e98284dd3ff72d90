import { ServiceError } from '../errors.ts'
import { ProtocolViolation } from '../mqtt/session.ts'

/** What a device asks of DPS. */
export type DeviceRequest =
  | { readonly kind: 'register'; readonly requestId: string; readonly body: Buffer }
  | { readonly kind: 'poll'; readonly requestId: string; readonly operationId: string }

/** What a user name says: `{idScope}/registrations/{registrationId}/api-version=...`. */
export interface DpsUserName {
  readonly idScope: string
  readonly registrationId: string
  readonly apiVersion: string | undefined
}

/** Reads a user name leniently; `undefined` when it is none for DPS. */
export function parseDpsUserName(userName: string): DpsUserName | undefined {
  const parts = /^([^/]+)\/registrations\/([^/]+)(?:\/(.*))?$/i.exec(userName)
  if (parts === null) return undefined
  const [, idScope = '', registrationId = '', query = ''] = parts
  // SDKs differ in whether a question mark stands before the parameters.
  const apiVersion = new URLSearchParams(query.replace(/^\?/, '')).get('api-version')
  return { idScope, registrationId, apiVersion: apiVersion ?? undefined }
}

/** Reads the topic of a publication. @throws ProtocolViolation for every other topic */
export function parseRequest(topic: string, body: Buffer): DeviceRequest {
  const parts =
    /^\$dps\/registrations\/(PUT\/iotdps-register|GET\/iotdps-get-operationstatus)\/\?(.*)$/i.exec(topic)
  const query = new URLSearchParams(parts?.[2])
  const requestId = query.get('$rid') ?? ''
  if (parts === null || requestId === '') {
    throw new ProtocolViolation(
      `"${topic}" is no request to DPS: expected a registration or a status, with a $rid.`,
    )
  }
  if (parts[1]?.toUpperCase().startsWith('PUT') === true) return { kind: 'register', requestId, body }
  return { kind: 'poll', requestId, operationId: query.get('operationId') ?? '' }
}

/** The registration id in the body of a registration. @throws ServiceError 400 when there is none */
export function registrationIdIn(body: Buffer): string {
  let content: unknown
  try {
    content = JSON.parse(body.toString())
  } catch {
    throw new ServiceError(400, 400000, 'Bad request: the body is no JSON.')
  }
  if (typeof content === 'object' && content !== null && 'registrationId' in content) {
    const { registrationId } = content
    if (typeof registrationId === 'string' && registrationId !== '') return registrationId
  }
  throw new ServiceError(400, 400000, 'Bad request: the body has no registrationId.')
}
