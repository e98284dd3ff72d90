/**
 * A fault that is armed for a number of occasions and goes off on each until they are used up.
 *
 * @example
 * ```ts
 * const refusal = new Next<number>()
 * refusal.arm(429, 2)
 * refusal.take() // 429, 429, then undefined
 * ```
 */
export class Next<T> {
  #armed: { readonly fault: T; left: number }[] = []

  /** Adds occasions behind those that are armed already. `Infinity` lasts until `disarm`. */
  arm(fault: T, times = 1): void {
    if (times > 0) this.#armed.push({ fault, left: times })
  }

  disarm(): void {
    this.#armed = []
  }

  /** The fault for this occasion, if one is armed. */
  take(): T | undefined {
    return this.takeIf(() => true)
  }

  /** The fault for this occasion, if the first that is armed is of the right kind. */
  takeIf(fits: (fault: T) => boolean): T | undefined {
    const first = this.#armed[0]
    if (first === undefined || !fits(first.fault)) return undefined
    first.left -= 1
    if (first.left <= 0) this.#armed.shift()
    return first.fault
  }
}
