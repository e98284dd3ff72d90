import { randomUUID } from 'node:crypto'
import type { ServiceError } from '../errors.ts'

/** What DPS answers on the topic `$dps/registrations/res/{status}/`. */
export interface Answer {
  readonly status: number
  /** Seconds. */
  readonly retryAfter?: number
  readonly body: object
}

/** The body of every refusal. */
export function errorAnswer(error: ServiceError, now: number, retryAfter?: number): Answer {
  return {
    status: error.status,
    ...(retryAfter === undefined ? {} : { retryAfter }),
    body: {
      errorCode: error.errorCode,
      trackingId: randomUUID(),
      message: error.message,
      timestampUtc: new Date(now).toISOString(),
    },
  }
}

/** JSON in ASCII: the device SDK reads one byte for each character. */
export function asciiJson(body: object): string {
  return JSON.stringify(body).replace(
    /[\u007f-\uffff]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
