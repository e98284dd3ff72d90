import { randomFrom } from '../../../sim/faults/random.ts'

/** Everything that a fuzz test leaves to chance; the same for the same seed. */
export class Dice {
  readonly #next: () => number

  constructor(seed: number) {
    this.#next = randomFrom(seed)
  }

  /** A whole number from 0 up to `below`, which it never is. */
  number(below: number): number {
    return Math.floor(this.#next() * below)
  }

  chance(probability: number): boolean {
    return this.#next() < probability
  }

  pick<T>(list: readonly T[]): T {
    if (list.length === 0) throw new RangeError('There is nothing to pick from.')
    return list[this.number(list.length)] as T
  }

  bytes(length: number): Buffer {
    return Buffer.from(Array.from({ length }, () => this.number(256)))
  }

  /** A token as some clients choose for their requests. */
  id(): string {
    return this.number(2 ** 31).toString(36)
  }
}
