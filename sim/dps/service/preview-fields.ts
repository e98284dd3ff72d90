import type { Context } from 'hono'
import type { JsonRecord } from '../../http/request-body.ts'
import type { HttpEnvironment } from '../../http/service-app.ts'
import { csrSince } from '../request.ts'

/** An entry, as far as earlier versions of the API do not know it. */
interface PreviewFields {
  readonly credentialPolicyName?: string
}

/** An entry as the version of the API that was asked for shows it. */
export function shownIn(context: Context<HttpEnvironment>, entry: object): object {
  const { credentialPolicyName: _policy, ...known } = entry as PreviewFields
  return isPreview(context) ? entry : known
}

/** An entry as it was written by a version of the API: one that does not know a field does not change it either. */
export function writtenIn(
  context: Context<HttpEnvironment>,
  entry: JsonRecord,
  before: PreviewFields | undefined,
): JsonRecord {
  if (isPreview(context)) return entry
  const { credentialPolicyName: _policy, ...known } = entry as JsonRecord & PreviewFields
  const { credentialPolicyName } = before ?? {}
  return credentialPolicyName === undefined ? known : { ...known, credentialPolicyName }
}

function isPreview(context: Context<HttpEnvironment>): boolean {
  return (context.req.query('api-version') ?? '') >= csrSince
}
