import { createHash } from 'node:crypto'
import { ServiceError } from '../../errors.ts'
import { readJsonObject } from '../../http/request-body.ts'
import type { ServiceApp } from '../../http/service-app.ts'
import type { SimulatedHub } from '../hub.ts'
import { isObject, parseJson, type JsonObject } from '../json.ts'
import { runQuery } from '../query/evaluate.ts'
import { parseQuery } from '../query/parse.ts'
import { QueryRefused } from '../query/query-refused.ts'
import type { Query } from '../query/query.ts'
import type { HubContext, Permit } from './permit.ts'
import { deviceJobJson } from './job-json.ts'

const largestPage = 1000

/** `POST /devices/query`. */
export function addQueryRoutes(app: ServiceApp, hub: SimulatedHub, permit: Permit): void {
  app.post('/devices/query', permit('ServiceConnect', 'RegistryRead'), async (context) => {
    const { query: text } = await readJsonObject(context)
    if (typeof text !== 'string') throw new ServiceError(400, 400004, 'query: expected a string.')
    const query = refusing(() => parseQuery(text))
    const rows = runQuery(query, query.source === 'devices' ? hub.twinRows() : jobRows(hub))
    context.header('x-ms-item-type', itemType(query))
    return page(context, rows, text)
  })
}

/** Answers with one page; the next one is asked for with the continuation that this one has given. */
export function page(context: HubContext, rows: readonly JsonObject[], question: string): Response {
  const size = Number(context.req.header('x-ms-max-item-count') ?? 100)
  if (!Number.isInteger(size) || size < 1 || size > largestPage) {
    throw new ServiceError(400, 400004, `x-ms-max-item-count: expected 1 to ${largestPage}.`)
  }
  const mark = createHash('sha256').update(question).digest('base64').slice(0, 12)
  const from = readContinuation(context.req.header('x-ms-continuation'), mark)
  const next = from + size
  if (next < rows.length) {
    context.header('x-ms-continuation', Buffer.from(JSON.stringify({ mark, next })).toString('base64'))
  }
  return context.json(rows.slice(from, next))
}

/** Turns what is wrong with a query into Azure's error. */
export function refusing<T>(read: () => T): T {
  try {
    return read()
  } catch (error) {
    if (!(error instanceof QueryRefused)) throw error
    throw new ServiceError(400, 400004, `Query refused: ${error.message}.`)
  }
}

/** A continuation goes with its query. */
function readContinuation(header: string | undefined, mark: string): number {
  if (header === undefined || header === '') return 0
  const continuation = parseJson(Buffer.from(header, 'base64').toString())
  if (isObject(continuation) && continuation['mark'] === mark) {
    const { next } = continuation
    if (typeof next === 'number' && Number.isInteger(next) && next >= 0) return next
  }
  throw new ServiceError(400, 400004, 'x-ms-continuation: not one that this query has given.')
}

function jobRows({ jobs }: SimulatedHub): readonly JsonObject[] {
  return jobs.results().map((result) => deviceJobJson(result, jobs.get(result.jobId)))
}

function itemType({ projection, source }: Query): string {
  if (projection.kind !== 'everything') return 'Raw'
  return source === 'devices' ? 'Twin' : 'DeviceJob'
}
