import { QueryRefused } from './query-refused.ts'

/** A piece of a query, with where it stands. */
export type Token =
  | { readonly kind: 'word'; readonly text: string; readonly at: number }
  | { readonly kind: 'string'; readonly value: string; readonly text: string; readonly at: number }
  | { readonly kind: 'number'; readonly value: number; readonly text: string; readonly at: number }
  | { readonly kind: 'symbol'; readonly text: string; readonly at: number }
  | { readonly kind: 'end'; readonly text: ''; readonly at: number }

const longestQuery = 32 * 1024
const space = /\s+/y
const word = /[A-Za-z_$][A-Za-z0-9_$]*/y
const number = /-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/y
const symbol = /!=|<>|<=|>=|[=<>()[\],.*]/y
const string = /'(?:[^'\\]|\\[^])*'|"(?:[^"\\]|\\[^])*"/y
const escapes: Readonly<Partial<Record<string, string>>> = { n: '\n', r: '\r', t: '\t', b: '\b', f: '\f' }

/** Cuts a query into tokens, the last of which is `end`. @throws QueryRefused at the first that is none */
export function tokenize(query: string): readonly Token[] {
  if (query.length > longestQuery) {
    throw new QueryRefused(`a query has at most ${longestQuery} characters`, longestQuery)
  }
  const tokens: Token[] = []
  let at = 0
  while (at < query.length) {
    at += match(space, query, at)?.length ?? 0
    if (at >= query.length) break
    const token = tokenAt(query, at)
    tokens.push(token)
    at += token.text.length
  }
  return [...tokens, { kind: 'end', text: '', at }]
}

function tokenAt(query: string, at: number): Token {
  const words = match(word, query, at)
  if (words !== undefined) return { kind: 'word', text: words, at }
  const quoted = match(string, query, at)
  if (quoted !== undefined) return { kind: 'string', value: unquote(quoted, at), text: quoted, at }
  const digits = match(number, query, at)
  if (digits !== undefined) return { kind: 'number', value: Number(digits), text: digits, at }
  const sign = match(symbol, query, at)
  if (sign !== undefined) return { kind: 'symbol', text: sign, at }
  throw new QueryRefused(`"${query.charAt(at)}" begins nothing`, at)
}

function match(pattern: RegExp, text: string, at: number): string | undefined {
  pattern.lastIndex = at
  return pattern.exec(text)?.[0]
}

function unquote(quoted: string, at: number): string {
  return quoted.slice(1, -1).replace(/\\(u[0-9A-Fa-f]{4}|[^])/g, (_, escaped: string) => {
    if (escaped.length === 5) return String.fromCharCode(parseInt(escaped.slice(1), 16))
    if (escaped === 'u') throw new QueryRefused('a \\u without four hex digits', at)
    return escapes[escaped] ?? escaped
  })
}
