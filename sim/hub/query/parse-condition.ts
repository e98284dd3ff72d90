import {
  stripSource,
  type Comparison,
  type Condition,
  type Literal,
  type Operand,
  type Path,
  type QuerySource,
} from './query.ts'
import type { TokenReader } from './token-reader.ts'

// Deeper than any query, and far from what the stack holds.
const deepest = 100

/** Reads what stands behind WHERE: OR binds loosest, then AND, then NOT. @throws QueryRefused */
export function parseCondition(reader: TokenReader, source: QuerySource): Condition {
  return new ConditionParser(reader, source).or(0)
}

class ConditionParser {
  readonly #reader: TokenReader
  readonly #source: QuerySource

  constructor(reader: TokenReader, source: QuerySource) {
    this.#reader = reader
    this.#source = source
  }

  or(depth: number): Condition {
    if (depth > deepest) this.#reader.refuse(`conditions are at most ${deepest} levels deep`)
    let left = this.#and(depth)
    while (this.#reader.takeKeyword('OR')) left = { kind: 'or', left, right: this.#and(depth) }
    return left
  }

  #and(depth: number): Condition {
    let left = this.#not(depth)
    while (this.#reader.takeKeyword('AND')) left = { kind: 'and', left, right: this.#not(depth) }
    return left
  }

  #not(depth: number): Condition {
    if (depth > deepest) this.#reader.refuse(`conditions are at most ${deepest} levels deep`)
    if (this.#reader.takeKeyword('NOT')) return { kind: 'not', condition: this.#not(depth + 1) }
    if (this.#reader.takeSymbol('(')) {
      const condition = this.or(depth + 1)
      this.#reader.expectSymbol(')')
      return condition
    }
    return this.#call() ?? this.#comparison()
  }

  #call(): Condition | undefined {
    const reader = this.#reader
    if (reader.isCall('IS_DEFINED')) {
      reader.advance()
      reader.expectSymbol('(')
      const path = this.#path()
      reader.expectSymbol(')')
      return { kind: 'isDefined', path }
    }
    if (!reader.isCall('STARTSWITH')) return undefined
    reader.advance()
    reader.expectSymbol('(')
    const operand = this.#operand()
    reader.expectSymbol(',')
    const prefix = this.#operand()
    reader.expectSymbol(')')
    return { kind: 'startsWith', operand, prefix }
  }

  #comparison(): Condition {
    const left = this.#operand()
    if (this.#reader.takeKeyword('IN')) return { kind: 'in', operand: left, list: this.#list() }
    if (this.#reader.takeKeyword('NOT')) {
      this.#reader.expectKeyword('IN')
      return { kind: 'not', condition: { kind: 'in', operand: left, list: this.#list() } }
    }
    const { next } = this.#reader
    const operator = next.kind === 'symbol' ? comparisonOf(next.text) : undefined
    if (operator === undefined) return { kind: 'operand', operand: left }
    this.#reader.advance()
    return { kind: 'compare', operator, left, right: this.#operand() }
  }

  #list(): readonly Literal[] {
    this.#reader.expectSymbol('[')
    const list: Literal[] = []
    if (this.#reader.takeSymbol(']')) return list
    do {
      const operand = this.#operand()
      if (operand.kind !== 'literal') return this.#reader.refuse('a list holds values only')
      list.push(operand.value)
    } while (this.#reader.takeSymbol(','))
    this.#reader.expectSymbol(']')
    return list
  }

  #operand(): Operand {
    const { next } = this.#reader
    if (next.kind === 'string' || next.kind === 'number') {
      this.#reader.advance()
      return { kind: 'literal', value: next.value }
    }
    const literal = next.kind === 'word' ? literals.get(next.text.toLowerCase()) : undefined
    if (literal !== undefined) {
      this.#reader.advance()
      return literal
    }
    return { kind: 'path', path: this.#path() }
  }

  #path(): Path {
    const { next } = this.#reader
    if (next.kind === 'word' && keywords.has(next.text.toUpperCase())) {
      return this.#reader.refuse(`expected a value, got ${next.text}`)
    }
    const path = this.#reader.expectPath()
    const after = this.#reader.next
    if (after.kind === 'symbol' && after.text === '(') {
      return this.#reader.refuse(`there is no function ${path.join('.')}()`, next.at)
    }
    return stripSource(path, this.#source)
  }
}

const keywords = new Set([
  'SELECT',
  'FROM',
  'WHERE',
  'AND',
  'OR',
  'NOT',
  'IN',
  'AS',
  'GROUP',
  'ORDER',
  'BY',
  'TOP',
])

const literals: ReadonlyMap<string, Operand> = new Map<string, Operand>([
  ['true', { kind: 'literal', value: true }],
  ['false', { kind: 'literal', value: false }],
  ['null', { kind: 'literal', value: null }],
])

function comparisonOf(symbol: string): Comparison | undefined {
  switch (symbol) {
    case '<>':
      return '!='
    case '=':
    case '!=':
    case '<':
    case '>':
    case '<=':
    case '>=':
      return symbol
    default:
      return undefined
  }
}
