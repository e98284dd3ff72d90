/** What a query reads: the twins of a hub, or what its jobs have done on each device. */
export type QuerySource = 'devices' | 'devices.jobs'

/** The way to a value, as in `properties.reported.x`. */
export type Path = readonly string[]

/** A value in a query. */
export type Literal = string | number | boolean | null

/** What stands on either side of a comparison. */
export type Operand =
  { readonly kind: 'literal'; readonly value: Literal } | { readonly kind: 'path'; readonly path: Path }

/** How two values are compared; `<>` is `!=`. */
export type Comparison = '=' | '!=' | '<' | '>' | '<=' | '>='

/** What stands behind WHERE. */
export type Condition =
  | {
      readonly kind: 'compare'
      readonly operator: Comparison
      readonly left: Operand
      readonly right: Operand
    }
  | { readonly kind: 'in'; readonly operand: Operand; readonly list: readonly Literal[] }
  | { readonly kind: 'isDefined'; readonly path: Path }
  | { readonly kind: 'startsWith'; readonly operand: Operand; readonly prefix: Operand }
  /** An operand by itself, which holds when it is true. */
  | { readonly kind: 'operand'; readonly operand: Operand }
  | { readonly kind: 'not'; readonly condition: Condition }
  | { readonly kind: 'and' | 'or'; readonly left: Condition; readonly right: Condition }

/** What stands behind SELECT. */
export type Projection =
  | { readonly kind: 'everything' }
  | { readonly kind: 'count'; readonly as: string }
  | { readonly kind: 'fields'; readonly fields: readonly { readonly path: Path; readonly as: string }[] }

/** A query that this hub can answer. */
export interface Query {
  readonly projection: Projection
  readonly source: QuerySource
  readonly where: Condition | undefined
}

/** `devices.jobs.deviceId` is `deviceId`, when it is read from devices.jobs. */
export function stripSource(path: Path, source: QuerySource): Path {
  const prefix = source.split('.')
  const isPrefixed = path.length > prefix.length && prefix.every((name, i) => path[i]?.toLowerCase() === name)
  return isPrefixed ? path.slice(prefix.length) : path
}
