import { setImmediate as turn } from 'node:timers/promises'

/**
 * Collects what would have ended the process. Node asks every listener, so the test runner still sees it too.
 *
 * @example
 * ```ts
 * using uncaught = watchUncaught()
 * expect(await uncaught.afterwards()).toEqual([])
 * ```
 */
export function watchUncaught(): Disposable & { afterwards(): Promise<readonly unknown[]> } {
  const seen: unknown[] = []
  const see = (thrown: unknown): void => void seen.push(thrown)
  process.on('uncaughtException', see)
  process.on('unhandledRejection', see)
  return {
    /** What was seen, once the event loop has come round often enough for the SDKs' late callbacks. */
    afterwards: async () => {
      for (let index = 0; index < 20; index++) await turn()
      return seen
    },
    [Symbol.dispose]: () => {
      process.off('uncaughtException', see)
      process.off('unhandledRejection', see)
    },
  }
}
