import { LeafkeeperError } from '../errors.ts'

/** Runs pieces of work one after the other, in the order they came. A failure stops only its own piece. */
export class OneAtATime {
  #last: Promise<unknown> = Promise.resolve()
  #closed = false

  /**
   * Runs `work` when everything before it has ended.
   *
   * @throws LeafkeeperError `HSM_CLOSED`
   */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    if (this.#closed) throw new LeafkeeperError('HSM_CLOSED', { message: 'The token was closed.' })
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
