import { isObject, type JsonObject } from '../json.ts'
import type { Comparison, Condition, Operand, Path, Query } from './query.ts'

/** Answers a query over rows. */
export function runQuery({ projection, where }: Query, rows: readonly JsonObject[]): readonly JsonObject[] {
  const found = rows.filter((row) => where === undefined || holds(where, row))
  switch (projection.kind) {
    case 'everything':
      return found
    case 'count':
      return [{ [projection.as]: found.length }]
    case 'fields':
      return found.map((row) =>
        Object.fromEntries(
          projection.fields
            .map(({ path, as }) => [as, valueAt(row, path)] as const)
            .filter(([, value]) => value !== undefined),
        ),
      )
  }
}

/** Whether a condition holds for a row; one that compares what is not there does not. */
export function holds(condition: Condition, row: JsonObject): boolean {
  return truth(condition, row) === true
}

/** `undefined` is neither true nor false: what is not there is not unequal either, and NOT does not change that. */
function truth(condition: Condition, row: JsonObject): boolean | undefined {
  switch (condition.kind) {
    case 'compare':
      return compare(condition.operator, valueOf(condition.left, row), valueOf(condition.right, row))
    case 'in': {
      const value = valueOf(condition.operand, row)
      return value === undefined ? undefined : condition.list.some((member) => member === value)
    }
    case 'isDefined':
      return valueAt(row, condition.path) !== undefined
    case 'startsWith': {
      const value = valueOf(condition.operand, row)
      const prefix = valueOf(condition.prefix, row)
      return typeof value === 'string' && typeof prefix === 'string' ? value.startsWith(prefix) : undefined
    }
    case 'operand': {
      const value = valueOf(condition.operand, row)
      return typeof value === 'boolean' ? value : undefined
    }
    case 'not': {
      const value = truth(condition.condition, row)
      return value === undefined ? undefined : !value
    }
    case 'and': {
      const values = [truth(condition.left, row), truth(condition.right, row)]
      if (values.includes(false)) return false
      return values.includes(undefined) ? undefined : true
    }
    case 'or': {
      const values = [truth(condition.left, row), truth(condition.right, row)]
      if (values.includes(true)) return true
      return values.includes(undefined) ? undefined : false
    }
  }
}

function compare(operator: Comparison, left: unknown, right: unknown): boolean | undefined {
  if (left === undefined || right === undefined) return undefined
  switch (operator) {
    case '=':
      return left === right
    case '!=':
      return left !== right
    default:
      return isOrdered(left, right) ? ordered(operator, left, right) : undefined
  }
}

/** Numbers and strings have an order, each among their own. */
function isOrdered(left: unknown, right: unknown): boolean {
  return typeof left === typeof right && (typeof left === 'number' || typeof left === 'string')
}

function ordered(operator: '<' | '>' | '<=' | '>=', left: unknown, right: unknown): boolean {
  const [a, b] = [left, right] as [string, string]
  switch (operator) {
    case '<':
      return a < b
    case '>':
      return a > b
    case '<=':
      return a <= b
    case '>=':
      return a >= b
  }
}

function valueOf(operand: Operand, row: JsonObject): unknown {
  return operand.kind === 'literal' ? operand.value : valueAt(row, operand.path)
}

function valueAt(row: JsonObject, path: Path): unknown {
  let value: unknown = row
  for (const name of path) {
    if (!isObject(value) || !Object.hasOwn(value, name)) return undefined
    value = value[name]
  }
  return value
}
