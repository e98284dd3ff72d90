/** A list of 32-bit integers that grows, in a quarter of the space that an array of numbers may need. */
export class Numbers {
  #values = new Int32Array(1_024)
  #length = 0

  get length(): number {
    return this.#length
  }

  push(value: number): void {
    if (this.#length === this.#values.length) {
      const larger = new Int32Array(2 * this.#length)
      larger.set(this.#values)
      this.#values = larger
    }
    this.#values[this.#length] = value
    this.#length += 1
  }

  set(index: number, value: number): void {
    if (index >= this.#length) throw new RangeError(`Expected an index below ${this.#length}, got ${index}.`)
    this.#values[index] = value
  }

  /** The value at an index; 0 where there is none. */
  at(index: number): number {
    return index < this.#length ? (this.#values[index] ?? 0) : 0
  }
}
