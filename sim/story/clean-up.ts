import { within } from './within.ts'

interface Step {
  readonly what: string
  readonly undo: () => Promise<unknown>
}

/** What a story has to undo at its end, the last thing first. */
export class CleanUp {
  readonly #steps: Step[] = []

  /** @param what What is waited for, should it never end: "the agent to stop". */
  add(what: string, undo: () => Promise<unknown>): void {
    this.#steps.push({ what, undo })
  }

  /**
   * Runs the task, then undoes everything, whatever fails and whatever never ends on the way.
   *
   * @throws what the task threw; or an AggregateError with that first, where undoing failed as well
   */
  async after<T>(task: () => Promise<T>): Promise<T> {
    const [outcome] = await Promise.allSettled([task()])
    const failures: unknown[] = []
    for (const { what, undo } of this.#steps.splice(0).reverse()) {
      const [undone] = await Promise.allSettled([within(what, undo(), 10_000)])
      if (undone.status === 'rejected') failures.push(undone.reason)
    }
    const errors = outcome.status === 'rejected' ? [outcome.reason as unknown, ...failures] : failures
    if (errors.length > 1) throw new AggregateError(errors, errors.map(String).join('\n'))
    if (outcome.status === 'rejected') throw outcome.reason
    if (failures.length > 0) throw failures[0]
    return outcome.value
  }
}
