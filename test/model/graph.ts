import { Numbers } from './numbers.ts'

/** Worlds and the happenings between them, as numbers; there are many millions, so they are kept in typed arrays. */
export class Graph {
  /** For each world and price where its happenings begin, counted from 1, and where they end; 0 where nobody looked. */
  readonly #begins = new Numbers()
  readonly #ends = new Numbers()
  /** Twice the number of the world that a happening leads to, and one more where it is kind. */
  readonly #to = new Numbers()
  readonly #prices: number
  #worlds = 0

  constructor(prices: number) {
    this.#prices = prices
  }

  /** How many worlds were reached. */
  get worlds(): number {
    return this.#worlds
  }

  /** How many happenings lead from one to another. */
  get transitions(): number {
    return this.#to.length
  }

  addWorld(): number {
    for (let price = 0; price < this.#prices; price += 1) {
      this.#begins.push(0)
      this.#ends.push(0)
    }
    this.#worlds += 1
    return this.#worlds - 1
  }

  isExpanded(world: number, price: number): boolean {
    return this.#begins.at(world * this.#prices + price) !== 0
  }

  /** Adds all that can happen in a world at a price. */
  expand(
    world: number,
    price: number,
    happenings: readonly { readonly to: number; readonly kind: boolean }[],
  ): void {
    const at = world * this.#prices + price
    this.#begins.set(at, this.#to.length + 1)
    for (const { to, kind } of happenings) this.#to.push(2 * to + Number(kind))
    this.#ends.set(at, this.#to.length + 1)
  }

  *successors(world: number, price: number): Iterable<number> {
    const at = world * this.#prices + price
    const end = this.#ends.at(at) - 1
    for (let index = this.#begins.at(at) - 1; index < end; index += 1) yield this.#to.at(index) >> 1
  }

  /**
   * The worlds from which no goal can be reached over kind happenings, found backwards from the goals.
   *
   * @param isGoal whether a world is one
   */
  cutOffFrom(isGoal: (world: number) => boolean): readonly number[] {
    const { starts, sources } = this.#backwards()
    const reaches = new Uint8Array(this.#worlds)
    const queue = new Numbers()
    const reach = (world: number): void => {
      if (reaches[world] === 1) return
      reaches[world] = 1
      queue.push(world)
    }
    for (let world = 0; world < this.#worlds; world += 1) if (isGoal(world)) reach(world)
    for (let next = 0; next < queue.length; next += 1) {
      const world = queue.at(next)
      for (let index = starts[world] ?? 0; index < (starts[world + 1] ?? 0); index += 1)
        reach(sources[index] ?? 0)
    }
    const cutOff: number[] = []
    for (let world = 0; world < this.#worlds; world += 1) if (reaches[world] === 0) cutOff.push(world)
    return cutOff
  }

  /** From where kind happenings lead to a world: `sources` from `starts[world]` up to `starts[world + 1]`. */
  #backwards(): { readonly starts: Int32Array; readonly sources: Int32Array } {
    const starts = new Int32Array(this.#worlds + 1)
    for (const to of this.#kindTargets()) starts[to + 1] = (starts[to + 1] ?? 0) + 1
    for (let world = 0; world < this.#worlds; world += 1)
      starts[world + 1] = (starts[world + 1] ?? 0) + (starts[world] ?? 0)
    const filled = starts.slice()
    const sources = new Int32Array(starts[this.#worlds] ?? 0)
    for (let at = 0; at < this.#begins.length; at += 1) {
      const end = this.#ends.at(at) - 1
      for (let index = this.#begins.at(at) - 1; index < end; index += 1) {
        const packed = this.#to.at(index)
        if ((packed & 1) === 0) continue
        const place = filled[packed >> 1] ?? 0
        sources[place] = Math.floor(at / this.#prices)
        filled[packed >> 1] = place + 1
      }
    }
    return { starts, sources }
  }

  *#kindTargets(): Iterable<number> {
    for (let index = 0; index < this.#to.length; index += 1)
      if ((this.#to.at(index) & 1) === 1) yield this.#to.at(index) >> 1
  }
}
