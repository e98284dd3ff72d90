import type { Path } from './query.ts'
import { QueryRefused } from './query-refused.ts'
import type { Token } from './tokens.ts'

/** Reads tokens one after the other. */
export class TokenReader {
  readonly #tokens: readonly Token[]
  #position = 0

  /** @param tokens - the last of which is `end` */
  constructor(tokens: readonly Token[]) {
    this.#tokens = tokens
  }

  /** The token that comes next; `end` for ever behind the last. */
  get next(): Token {
    return this.#tokens[this.#position] ?? { kind: 'end', text: '', at: 0 }
  }

  /** Moves on. @returns the token that was next */
  advance(): Token {
    const token = this.next
    if (token.kind !== 'end') this.#position += 1
    return token
  }

  takeKeyword(keyword: string): boolean {
    const isNext = this.next.kind === 'word' && this.next.text.toUpperCase() === keyword
    if (isNext) this.advance()
    return isNext
  }

  takeSymbol(symbol: string): boolean {
    const isNext = this.next.kind === 'symbol' && this.next.text === symbol
    if (isNext) this.advance()
    return isNext
  }

  /** Whether a function of that name is called next. */
  isCall(name: string): boolean {
    const after = this.#tokens[this.#position + 1]
    return (
      this.next.kind === 'word' &&
      this.next.text.toUpperCase() === name &&
      after?.kind === 'symbol' &&
      after.text === '('
    )
  }

  expectKeyword(keyword: string): void {
    if (!this.takeKeyword(keyword)) this.#unexpected(keyword)
  }

  expectSymbol(symbol: string): void {
    if (!this.takeSymbol(symbol)) this.#unexpected(`"${symbol}"`)
  }

  expectName(): string {
    const token = this.next
    if (token.kind !== 'word') return this.#unexpected('a name')
    this.advance()
    return token.text
  }

  expectPath(): Path {
    const path = [this.expectName()]
    while (this.takeSymbol('.')) path.push(this.expectName())
    return path
  }

  expectEnd(): void {
    if (this.next.kind !== 'end') this.#unexpected('the end of the query')
  }

  refuse(why: string, at: number = this.next.at): never {
    throw new QueryRefused(why, at)
  }

  #unexpected(expected: string): never {
    const { kind, text } = this.next
    return this.refuse(`expected ${expected}, got ${kind === 'end' ? 'the end' : `"${text}"`}`)
  }
}
