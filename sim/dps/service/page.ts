import type { Context } from 'hono'
import { ServiceError } from '../../errors.ts'
import { readJsonObject } from '../../http/request-body.ts'
import type { HttpEnvironment } from '../../http/service-app.ts'

const mostItems = 1000

/**
 * Answers a query with one page, and with the token for the next one if there is more. The token names the last
 * item of the page, so entries that come and go meanwhile do no harm.
 *
 * @param items - by id
 * @throws ServiceError 400 for a query other than `SELECT *`, or a token or page size that is none
 */
export async function answerQuery(
  context: Context<HttpEnvironment>,
  items: ReadonlyMap<string, object>,
  itemType: string,
): Promise<Response> {
  const { query } = (await readJsonObject(context)) as { readonly query?: unknown }
  if (typeof query !== 'string' || !/^\s*(\*|select\s+\*(\s+from\s+\w+)?)\s*;?\s*$/i.test(query)) {
    throw new ServiceError(400, 400004, 'Query: expected "*" or "SELECT * FROM enrollments".')
  }
  const size = pageSize(context.req.header('x-ms-max-item-count'))
  const after = afterOf(context.req.header('x-ms-continuation'))
  const ids = [...items.keys()].sort().filter((id) => after === undefined || id > after)
  const page = ids.slice(0, size)
  const last = page.at(-1)
  if (ids.length > page.length && last !== undefined) {
    context.header('x-ms-continuation', Buffer.from(JSON.stringify({ after: last })).toString('base64'))
  }
  context.header('x-ms-item-type', itemType)
  context.header('x-ms-max-item-count', String(size))
  return context.json(page.map((id) => items.get(id)))
}

function pageSize(header: string | undefined): number {
  if (header === undefined) return mostItems
  const size = Number(header)
  if (Number.isInteger(size) && size >= 1 && size <= mostItems) return size
  throw new ServiceError(400, 400004, `x-ms-max-item-count: expected 1 to ${mostItems}, got "${header}".`)
}

function afterOf(token: string | undefined): string | undefined {
  if (token === undefined || token === '') return undefined
  try {
    const content = JSON.parse(Buffer.from(token, 'base64').toString()) as { readonly after?: unknown } | null
    if (typeof content?.after === 'string') return content.after
  } catch {
    // Falls through to the refusal: it is the same whatever is wrong with it.
  }
  throw new ServiceError(400, 400004, 'x-ms-continuation: expected a token of an earlier answer.')
}
