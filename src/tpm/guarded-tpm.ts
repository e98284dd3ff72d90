import type { TssTpm } from './tpm-package.ts'

type Method = (...args: readonly unknown[]) => unknown

/**
 * The TPM of `tss.js` as the official client gets it. The client looks at some responses before it looks at the error
 * beside them, and so throws from a callback, which would end the process; `tss.js` does where a response is malformed.
 * Here whatever a callback throws goes to `failed`.
 */
export function guardedTpm(tpm: TssTpm, failed: (thrown: unknown) => void): TssTpm {
  const guard = (argument: unknown): unknown => {
    if (typeof argument !== 'function') return argument
    const callback = argument as Method
    return (...results: readonly unknown[]): void => {
      try {
        callback(...results)
      } catch (thrown) {
        failed(thrown)
      }
    }
  }
  // What reads a response is handed to this one, by all other methods.
  const inner = tpm as unknown as { dispatchCommand: Method }
  const dispatch = inner.dispatchCommand.bind(tpm)
  inner.dispatchCommand = (...args) => dispatch(...args.map(guard))
  const guarded: TssTpm = new Proxy(tpm, {
    get(target, property) {
      const member: unknown = Reflect.get(target, property, target)
      if (typeof member !== 'function') return member
      return (...args: readonly unknown[]): unknown => {
        const result: unknown = Reflect.apply(member, target, args.map(guard))
        // Modifiers such as withSession() return the TPM for the next call in the chain.
        return result === target ? guarded : result
      }
    },
  })
  return guarded
}
