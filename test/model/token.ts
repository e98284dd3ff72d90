import { plus, noGenerations, type GenerationSet } from './generation-set.ts'

/**
 * What the token holds of one generation. `remains` are objects without a private key: a generation or a destruction
 * was cut off. Certificates are stored leaf last, so a chain is whole or does not count.
 */
export type Holding = 'nothing' | 'remains' | 'key' | 'certified' | 'misnamed'

/** What the token holds: a letter for each generation, from generation 1 on. */
export type Token = string

export const emptyToken: Token = ''

const letters: Record<Holding, string> = {
  nothing: '-',
  remains: 'r',
  key: 'k',
  certified: 'c',
  misnamed: 'm',
}
const holdings = new Map(Object.entries(letters).map(([holding, letter]) => [letter, holding as Holding]))

export function holdingOf(token: Token, generation: number): Holding {
  return holdings.get(token[generation - 1] ?? letters.nothing) ?? 'nothing'
}

export function withHolding(token: Token, generation: number, holding: Holding): Token {
  const padded = token.padEnd(generation, letters.nothing)
  return trimmed(padded.slice(0, generation - 1) + letters[holding] + padded.slice(generation))
}

/** The generations the token holds anything of. */
export function onToken(token: Token): GenerationSet {
  let set = noGenerations
  for (let index = 0; index < token.length; index += 1)
    if (token[index] !== letters.nothing) set = plus(set, index + 1)
  return set
}

/** The generations whose key the token holds. */
export function keysOn(token: Token): GenerationSet {
  let set = noGenerations
  for (let index = 0; index < token.length; index += 1)
    if (hasKey(token, index + 1)) set = plus(set, index + 1)
  return set
}

export function isCertified(token: Token, generation: number): boolean {
  const letter = token[generation - 1]
  return letter === letters.certified || letter === letters.misnamed
}

export function hasKey(token: Token, generation: number): boolean {
  return token[generation - 1] === letters.key || isCertified(token, generation)
}

/** The same token with other generation numbers. */
export function renumberToken(token: Token, numbers: ReadonlyMap<number, number>): Token {
  let renumbered = emptyToken
  for (const [from, to] of numbers) renumbered = withHolding(renumbered, to, holdingOf(token, from))
  return renumbered
}

function trimmed(token: Token): Token {
  let end = token.length
  while (end > 0 && token[end - 1] === letters.nothing) end -= 1
  return token.slice(0, end)
}
