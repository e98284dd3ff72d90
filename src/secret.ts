import { inspect } from 'node:util'

/**
 * A value that cannot print itself: string conversion, JSON and `util.inspect` all give `[secret]`.
 * `reveal()` is the one way to the value, so that its uses are easy to find.
 *
 * @example
 * ```ts
 * const pin = new Secret('1234')
 * console.log(`${pin}`, pin) // [secret] [secret]
 * ```
 */
export class Secret {
  readonly #value: string

  constructor(value: string) {
    this.#value = value
  }

  /** The value itself. Never let it reach a log, an error, an argument list, the journal or a snapshot. */
  reveal(): string {
    return this.#value
  }

  toString(): string {
    return '[secret]'
  }

  toJSON(): string {
    return '[secret]'
  }

  [inspect.custom](): string {
    return '[secret]'
  }
}
