/** What is to happen at some instants; the earliest comes first, and what was asked for first among equals. */
export class VirtualTime {
  now: number
  #count = 0
  /** A binary heap: a parent at `n` is never later than its children at `2n + 1` and `2n + 2`. */
  readonly #heap: { readonly at: number; readonly order: number; readonly happen: () => void }[] = []

  constructor(now: number) {
    this.now = now
  }

  /** Lets something happen at an instant; what lies in the past happens now. */
  at(instant: number, happen: () => void): void {
    this.#count += 1
    this.#heap.push({ at: Math.max(instant, this.now), order: this.#count, happen })
    for (let child = this.#heap.length - 1; child > 0;) {
      const parent = Math.floor((child - 1) / 2)
      if (!this.#swapIfEarlier(child, parent)) return
      child = parent
    }
  }

  /** Lets everything up to and including an instant happen. */
  runUntil(end: number): void {
    for (let next = this.#heap[0]; next !== undefined && next.at <= end; next = this.#heap[0]) {
      this.#removeFirst()
      this.now = next.at
      next.happen()
    }
    this.now = end
  }

  #removeFirst(): void {
    const last = this.#heap.pop()
    if (last === undefined || this.#heap.length === 0) return
    this.#heap[0] = last
    for (let parent = 0; ;) {
      const [left, right] = [2 * parent + 1, 2 * parent + 2]
      const child = this.#isEarlier(right, left) ? right : left
      if (!this.#swapIfEarlier(child, parent)) return
      parent = child
    }
  }

  #swapIfEarlier(child: number, parent: number): boolean {
    const [lower, upper] = [this.#heap[child], this.#heap[parent]]
    if (lower === undefined || upper === undefined || !this.#isEarlier(child, parent)) return false
    this.#heap[child] = upper
    this.#heap[parent] = lower
    return true
  }

  #isEarlier(one: number, other: number): boolean {
    const [a, b] = [this.#heap[one], this.#heap[other]]
    if (a === undefined || b === undefined) return b === undefined && a !== undefined
    return a.at === b.at ? a.order < b.order : a.at < b.at
  }
}

/** A sequence of numbers from 0 up to, not including, 1 that is the same for the same seed (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}
