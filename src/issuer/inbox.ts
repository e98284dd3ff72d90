/** What comes one after another, for one who waits for it with patience of their own. */
export class Inbox<T> {
  readonly #arrived: T[] = []
  #failure: Error | undefined
  #wake: () => void = () => undefined

  put(item: T): void {
    this.#arrived.push(item)
    this.#wake()
  }

  /** Nothing more comes; what is here can still be taken. */
  fail(error: Error): void {
    this.#failure ??= error
    this.#wake()
  }

  /**
   * The next item; `undefined` when none has come in time.
   *
   * @param patienceMs how long to wait, in milliseconds
   * @throws what `fail` was told, and the reason of the signal
   */
  async take(patienceMs: number, signal: AbortSignal): Promise<T | undefined> {
    if (this.#arrived.length === 0 && this.#failure === undefined && !signal.aborted) {
      await new Promise<void>((resolve) => {
        const wake = (): void => {
          clearTimeout(timer)
          signal.removeEventListener('abort', wake)
          resolve()
        }
        const timer = setTimeout(wake, patienceMs)
        signal.addEventListener('abort', wake)
        this.#wake = wake
      })
    }
    const [next] = this.#arrived.splice(0, 1)
    if (next !== undefined) return next
    signal.throwIfAborted()
    if (this.#failure !== undefined) throw this.#failure
    return undefined
  }
}
