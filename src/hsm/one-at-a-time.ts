/** Runs pieces of work one after the other, in the order they came. A failure stops only its own piece. */
export class OneAtATime {
  #last: Promise<unknown> = Promise.resolve()

  /** Runs `work` when everything before it has ended. */
  run<Result>(work: () => Promise<Result>): Promise<Result> {
    const result = this.#last.then(work)
    this.#last = result.catch(() => undefined)
    return result
  }
}
