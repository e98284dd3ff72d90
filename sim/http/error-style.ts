import { randomUUID } from 'node:crypto'
import type { ServiceError } from '../errors.ts'

/** Puts a refusal into the words of one service, JSON or text. `now` is in milliseconds since 1970. */
export type ErrorStyle = (
  error: ServiceError,
  now: number,
) => { readonly body: object | string; readonly headers: Readonly<Record<string, string>> }

/** A refusal as it is written: its body with the type of that among the headers. */
export function written(
  error: ServiceError,
  errors: ErrorStyle,
  now: number,
): { readonly text: string; readonly headers: Readonly<Record<string, string>> } {
  const { body, headers } = errors(error, now)
  const isText = typeof body === 'string'
  return {
    text: isText ? body : JSON.stringify(body),
    headers: { ...headers, 'content-type': isText ? 'text/plain' : 'application/json' },
  }
}

/** The same as a response. */
export function refusal(error: ServiceError, errors: ErrorStyle, now: number): Response {
  const { text, headers } = written(error, errors, now)
  return new Response(text, { status: error.status, headers })
}

/** DPS: `{errorCode, trackingId, message, timestampUtc}`. */
export const provisioningErrors: ErrorStyle = (error, now) => ({
  body: {
    errorCode: error.errorCode,
    trackingId: randomUUID(),
    message: error.message,
    timestampUtc: new Date(now).toISOString(),
  },
  headers: { 'x-ms-error-code': String(error.errorCode), ...retryAfter(error) },
})

/** IoT Hub: `{"Message": "ErrorCode:<Name>;<text>", "ExceptionMessage": "Tracking ID:..."}`. */
export const hubErrors: ErrorStyle = (error, now) => {
  const named = /^ErrorCode:(\w+);/.exec(error.message)
  const name = named?.[1] ?? hubErrorNames[error.status] ?? 'GenericError'
  return {
    body: {
      Message: named === null ? `ErrorCode:${name};${error.message}` : error.message,
      ExceptionMessage: `Tracking ID:${randomUUID()}-TimeStamp:${new Date(now).toISOString()}`,
    },
    headers: { 'iothub-errorcode': name, ...retryAfter(error) },
  }
}

/** Azure Resource Manager: `{"error": {"code", "message"}}`. */
export const managementErrors: ErrorStyle = (error) => ({
  body: { error: { code: managementErrorNames[error.status] ?? 'InternalError', message: error.message } },
  headers: retryAfter(error),
})

/** EST: plain text for people (RFC 8951, 5), and which authentication helps (RFC 7030, 3.2.3). */
export const estErrors: ErrorStyle = (error) => ({
  body: `${error.message}\n`,
  headers: {
    ...(error.status === 401 ? { 'www-authenticate': 'Basic realm="estrealm"' } : {}),
    ...retryAfter(error),
  },
})

const hubErrorNames: Readonly<Record<number, string>> = {
  400: 'ArgumentInvalid',
  401: 'IotHubUnauthorizedAccess',
  403: 'IotHubQuotaExceeded',
  404: 'NotFound',
  409: 'DeviceAlreadyExists',
  412: 'PreconditionFailed',
  413: 'MessageTooLarge',
  429: 'ThrottlingException',
  500: 'ServerError',
  503: 'ServiceUnavailable',
  504: 'GatewayTimeout',
}

const managementErrorNames: Readonly<Record<number, string>> = {
  400: 'BadRequest',
  401: 'AuthenticationFailed',
  404: 'ResourceNotFound',
  409: 'Conflict',
  412: 'PreconditionFailed',
  413: 'RequestEntityTooLarge',
}

function retryAfter({ retryAfter: seconds }: ServiceError): Readonly<Record<string, string>> {
  return seconds === undefined ? {} : { 'retry-after': String(seconds) }
}
