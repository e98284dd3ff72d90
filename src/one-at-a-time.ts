import { LeafkeeperError, type ErrorCode } from './errors.ts'

/** Runs pieces of work one after the other, in the order they came. A failure stops only its own piece. */
export class OneAtATime {
  readonly #closedCode: ErrorCode
  #last: Promise<unknown> = Promise.resolve()
  #closed = false

  /** @param closedCode What work that comes after the end is refused with. */
  constructor(closedCode: ErrorCode) {
    this.#closedCode = closedCode
  }

  /**
   * Runs `work` when everything before it has ended.
   *
   * @throws LeafkeeperError with the code of a closed one
   */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#closed) throw new LeafkeeperError(this.#closedCode)
    const result = this.#last.then(work)
    this.#last = result.catch(() => undefined)
    return await result
  }

  /** Takes no more work, and waits for what it has. */
  async close(): Promise<void> {
    this.#closed = true
    await this.#last
  }
}
