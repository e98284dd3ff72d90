/** Gives equal values one small number, so that they can be compared and remembered as that number. */
export class Interner<Value> {
  readonly #byKey = new Map<string, number>()
  readonly #values: Value[] = []
  readonly #keyOf: (value: Value) => string

  constructor(keyOf: (value: Value) => string) {
    this.#keyOf = keyOf
  }

  get size(): number {
    return this.#values.length
  }

  idOf(value: Value): number {
    const key = this.#keyOf(value)
    const known = this.#byKey.get(key)
    if (known !== undefined) return known
    const id = this.#values.length
    this.#byKey.set(key, id)
    this.#values.push(value)
    return id
  }

  at(id: number): Value {
    const value = this.#values[id]
    if (value === undefined) throw new RangeError(`nothing has the number ${id}`)
    return value
  }
}
