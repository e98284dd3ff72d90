/** A set of generations: bit `n` for generation `n`. Explorations make millions of them. */
export type GenerationSet = number

export const noGenerations: GenerationSet = 0

export function has(set: GenerationSet, generation: number): boolean {
  return (set & (1 << generation)) !== 0
}

export function plus(set: GenerationSet, generation: number): GenerationSet {
  return set | (1 << generation)
}

export function minus(set: GenerationSet, generation: number): GenerationSet {
  return set & ~(1 << generation)
}

export function setOf(generations: Iterable<number>): GenerationSet {
  let set = noGenerations
  for (const generation of generations) set = plus(set, generation)
  return set
}

/** In their order. */
export function numbersIn(set: GenerationSet): readonly number[] {
  const numbers: number[] = []
  for (let generation = 0; set >> generation !== 0; generation += 1)
    if (has(set, generation)) numbers.push(generation)
  return numbers
}

export function countOf(set: GenerationSet): number {
  return numbersIn(set).length
}
