import { parseCondition } from './parse-condition.ts'
import {
  stripSource,
  type Condition,
  type Path,
  type Projection,
  type Query,
  type QuerySource,
} from './query.ts'
import { TokenReader } from './token-reader.ts'
import { tokenize } from './tokens.ts'

/**
 * Reads a query of IoT Hub's query language: `SELECT * | fields | COUNT() AS name FROM devices | devices.jobs
 * [WHERE condition]`.
 *
 * @throws QueryRefused for everything else, also for what Azure has beside it (GROUP BY, TOP, JOIN, modules)
 */
export function parseQuery(text: string): Query {
  const reader = new TokenReader(tokenize(text))
  reader.expectKeyword('SELECT')
  const projection = readProjection(reader)
  reader.expectKeyword('FROM')
  const source = readSource(reader)
  const where = reader.takeKeyword('WHERE') ? parseCondition(reader, source) : undefined
  reader.expectEnd()
  return { projection: withoutPrefix(projection, source), source, where }
}

/** Reads what a job asks for: a condition, or `*`, or nothing for all devices. @throws QueryRefused */
export function parseQueryCondition(text: string): Condition | undefined {
  if (text.trim() === '' || text.trim() === '*') return undefined
  const reader = new TokenReader(tokenize(text))
  const condition = parseCondition(reader, 'devices')
  reader.expectEnd()
  return condition
}

function readProjection(reader: TokenReader): Projection {
  if (reader.takeSymbol('*')) return { kind: 'everything' }
  if (reader.isCall('COUNT')) {
    reader.expectKeyword('COUNT')
    reader.expectSymbol('(')
    reader.expectSymbol(')')
    return { kind: 'count', as: reader.takeKeyword('AS') ? reader.expectName() : 'Column1' }
  }
  const fields: { path: Path; as: string }[] = []
  do {
    const path = reader.expectPath()
    fields.push({ path, as: reader.takeKeyword('AS') ? reader.expectName() : (path.at(-1) ?? '') })
  } while (reader.takeSymbol(','))
  return { kind: 'fields', fields }
}

function readSource(reader: TokenReader): QuerySource {
  const { at } = reader.next
  const source = reader.expectPath().join('.').toLowerCase()
  if (source === 'devices' || source === 'devices.jobs') return source
  return reader.refuse(`cannot read from "${source}": expected devices or devices.jobs`, at)
}

function withoutPrefix(projection: Projection, source: QuerySource): Projection {
  if (projection.kind !== 'fields') return projection
  return {
    kind: 'fields',
    fields: projection.fields.map(({ path, as }) => ({ path: stripSource(path, source), as })),
  }
}
