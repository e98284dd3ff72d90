import { ServiceError } from '../../errors.ts'

/**
 * Reads an `If-Match` header: `"*"`, `*`, or an ETag in quotes (`azure-iothub` quotes it) or bare.
 *
 * @returns `undefined` when there is none, `*` for any version
 * @throws ServiceError 400
 */
export function readIfMatch(header: string | undefined): string | undefined {
  if (header === undefined) return undefined
  const [, quoted, bare] = /^\s*(?:W\/)?(?:"([^"]*)"|([^"\s]+))\s*$/.exec(header) ?? []
  const etag = quoted ?? bare
  if (etag === undefined || etag === '')
    throw new ServiceError(400, 400004, `If-Match: "${header}" is no ETag.`)
  return etag
}
