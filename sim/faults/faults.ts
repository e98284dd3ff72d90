import {
  checked,
  type Disturbance,
  type Face,
  type FaultName,
  type FaultSettings,
  type SetFault,
} from './names.ts'
import { randomFrom } from './random.ts'

/** What a face is to do differently on one occasion. */
export interface Trouble {
  /** Milliseconds to wait before anything is done. */
  readonly delayMs: number
  /** Ends the connection before the work is done, or after it and without an answer. */
  readonly cut: 'before' | 'after' | undefined
  /** Answers this in place of doing the work. */
  readonly refusal: { readonly status: number; readonly retryAfter?: number } | undefined
}

/** What a fault changes in the cloud while it is set. */
export interface FaultEffects {
  /** Does what the fault is. @returns what undoes it @throws RangeError for settings that fit nothing in this cloud */
  apply(fault: SetFault): () => void
}

const none: Trouble = { delayMs: 0, cut: undefined, refusal: undefined }

interface Live extends SetFault {
  left: number
  readonly undo: () => void
}

/**
 * What goes wrong in a cloud, by name.
 *
 * @example
 * ```ts
 * cloud.faults.set('dps-latency', { ms: 200 })
 * cloud.faults.set('hub-service-answer-lost', { times: 1 })
 * cloud.faults.list()
 * cloud.faults.clear('dps-latency') // or all of them: cloud.faults.clear()
 * ```
 */
export class Faults {
  readonly #live = new Map<FaultName, Live>()
  readonly #random: () => number
  readonly #effects: FaultEffects

  constructor(seed: number, effects: FaultEffects) {
    this.#random = randomFrom(seed)
    this.#effects = effects
  }

  /** Sets a fault, in place of one of the same name. @throws RangeError that says what was expected */
  set(name: FaultName, settings: FaultSettings = {}): void {
    const fault = checked({ name, settings })
    this.clear(name)
    const undo = this.#effects.apply(fault)
    this.#live.set(name, { ...fault, left: settings.times ?? Infinity, undo })
  }

  /** The faults that are set, and not yet used up. */
  list(): readonly SetFault[] {
    return [...this.#live.values()].map(({ name, settings }) => ({ name, settings }))
  }

  /** Takes a fault back, or all of them. */
  clear(name?: FaultName): void {
    for (const one of name === undefined ? [...this.#live.keys()] : [name]) {
      const fault = this.#live.get(one)
      this.#live.delete(one)
      fault?.undo()
    }
  }

  /** Whether a fault comes to pass on this occasion, which counts as one. */
  takes(name: FaultName): FaultSettings | undefined {
    const fault = this.#live.get(name)
    if (fault === undefined) return undefined
    const { probability = 1 } = fault.settings
    if (probability < 1 && this.#random() >= probability) return undefined
    fault.left -= 1
    if (fault.left <= 0) this.clear(name)
    return fault.settings
  }

  /** What happens to the next request at a face. */
  trouble(face: Face): Trouble {
    if (this.#live.size === 0) return none
    const take = (disturbance: Disturbance): FaultSettings | undefined => this.takes(`${face}-${disturbance}`)
    const latency = take('latency')
    const throttled = take('throttled')
    const error = throttled === undefined ? take('error') : undefined
    const refusal =
      throttled !== undefined
        ? { status: 429, retryAfter: throttled.retryAfter ?? 1 }
        : error !== undefined
          ? { status: error.status ?? 500 }
          : undefined
    const before = take('dropped') !== undefined
    const cut = before ? 'before' : take('answer-lost') !== undefined ? 'after' : undefined
    return { delayMs: latency?.ms ?? 0, cut, refusal }
  }
}
