import { randomUUID } from 'node:crypto'

/** An answer on `$iothub/credentials/res/{status}/?$rid=...`. */
export interface CredentialAnswer {
  readonly status: number
  readonly body: string
}

/** What an error says beside its code. */
export interface CredentialErrorInfo {
  readonly correlationId?: string
  readonly credentialError?: string
  readonly credentialMessage?: string
  /** The request id of the operation that is in the way. */
  readonly requestId?: string
  readonly operationExpires?: string
}

/** Every error code of the operation. */
export type CredentialErrorCode =
  400004 | 400006 | 400037 | 400040 | 409004 | 409005 | 412001 | 429002 | 429003 | 500001 | 503001

/** What came of a request, after its 202. */
export type CredentialOutcome =
  | { readonly certificates: readonly string[] }
  | { readonly errorCode: CredentialErrorCode; readonly message: string; readonly info: CredentialErrorInfo }

/** 202: the request has become an operation. */
export function accepted(correlationId: string, operationExpires: string): CredentialAnswer {
  return { status: 202, body: JSON.stringify({ correlationId, operationExpires }) }
}

/** 200, or the error after a 202. */
export function completed(correlationId: string, outcome: CredentialOutcome, now: number): CredentialAnswer {
  if ('certificates' in outcome) {
    return { status: 200, body: JSON.stringify({ correlationId, certificates: outcome.certificates }) }
  }
  return failed(outcome.errorCode, outcome.message, now, { correlationId, ...outcome.info })
}

/** An error, as Azure's bodies have it. */
export function failed(
  errorCode: CredentialErrorCode,
  message: string,
  now: number,
  info: CredentialErrorInfo = {},
  retryAfter?: number,
): CredentialAnswer {
  const body = {
    errorCode,
    message,
    trackingId: randomUUID(),
    timestampUtc: new Date(now).toISOString(),
    info,
    ...(retryAfter === undefined ? {} : { retryAfter }),
  }
  // The first three digits are the status.
  return { status: Math.trunc(errorCode / 1000), body: JSON.stringify(body) }
}
