import { randomUUID } from 'node:crypto'
import { ServiceError } from './errors.ts'

/** A new ETag as DPS makes them: a quoted GUID in Base64. */
export function newEtag(): string {
  return Buffer.from(`"${randomUUID()}"`).toString('base64')
}

/**
 * Makes sure that something is there and has not changed since it was read. SDKs pass the ETag on as it was in the
 * body, HTTP clients put it in quotes.
 *
 * @throws ServiceError 404 when it is not there, 412 when its ETag is another
 */
export function requireMatch(
  what: string,
  before: { readonly etag: string } | undefined,
  ifMatch: string,
): void {
  if (before === undefined) throw new ServiceError(404, 404201, `Not found: ${what}.`)
  if (ifMatch === '*' || ifMatch === '"*"') return
  const plain = ifMatch.replace(/^"(.*)"$/, '$1')
  if (plain !== before.etag) {
    throw new ServiceError(412, 412200, `Of ${what} there is the version ${before.etag}, not ${ifMatch}.`)
  }
}
