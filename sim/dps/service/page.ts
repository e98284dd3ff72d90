import type { Context } from 'hono'
import { ServiceError } from '../../errors.ts'
import { readJsonObject } from '../../http/request-body.ts'
import type { HttpEnvironment } from '../../http/service-app.ts'

const mostItems = 1000

/** What a query goes through. */
export interface Queried<T> {
  readonly items: readonly T[]
  readonly idOf: (item: T) => string
  readonly json: (item: T) => object
  /** What the answer calls them. */
  readonly itemType: string
}

/**
 * Answers a query with one page, and with the token for the next one if there is more. The token names the last
 * item of the page, so entries that come and go meanwhile do no harm.
 *
 * @throws ServiceError 400 for a query other than `SELECT *`, or a token or page size that is none
 */
export async function answerQuery<T>(
  context: Context<HttpEnvironment>,
  { items, idOf, json, itemType }: Queried<T>,
): Promise<Response> {
  const { query } = (await readJsonObject(context)) as { readonly query?: unknown }
  if (typeof query !== 'string' || !/^\s*(\*|select\s+\*(\s+from\s+\w+)?)\s*;?\s*$/i.test(query)) {
    throw new ServiceError(400, 400004, 'Query: expected "*" or "SELECT * FROM enrollments".')
  }
  const size = pageSize(context.req.header('x-ms-max-item-count'))
  const after = afterOf(context.req.header('x-ms-continuation'))
  const byId = new Map(items.map((item) => [idOf(item).toLowerCase(), item]))
  const rest = [...byId].filter(([id]) => after === undefined || id > after)
  rest.sort(([one], [other]) => (one < other ? -1 : 1))
  const page = rest.slice(0, size)
  const last = page.at(-1)
  if (rest.length > page.length && last !== undefined) {
    context.header('x-ms-continuation', Buffer.from(JSON.stringify({ after: last[0] })).toString('base64'))
  }
  context.header('x-ms-item-type', itemType)
  context.header('x-ms-max-item-count', String(size))
  return context.json(page.map(([, item]) => json(item)))
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
