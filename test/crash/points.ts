import { appendFileSync, renameSync, writeFileSync } from 'node:fs'
import type { Harm, Side, Watch } from './conversation.ts'

/** Taken before anything is watched: what the test itself writes is no point of the device's. */
const [append, write, rename] = [appendFileSync, writeFileSync, renameSync]

/**
 * Counts everything a device does, and does harm at one point of it. Calls of PKCS#11 are counted by the shim, which
 * also sees those that OpenSSL makes; it is told by its rules.
 */
export class Points {
  readonly #rules: string
  readonly #counts = new Map<string, number>()
  readonly #diskIsFull: () => void
  #watch: Watch | null = null
  #isFull = false
  #harmed = false

  /**
   * @param rules The file of the shim's rules.
   * @param diskIsFull Called when the disk begins to refuse; {@link makeRoom} ends that.
   */
  constructor(rules: string, diskIsFull: () => void) {
    this.#rules = rules
    this.#diskIsFull = diskIsFull
  }

  /** Whether the disk has refused something since {@link arm}. */
  get harmed(): boolean {
    return this.#harmed
  }

  /** From now on points count. */
  arm(watch: Watch): void {
    this.#counts.clear()
    this.#harmed = false
    this.#watch = watch
    this.#rule(shimRule(watch))
  }

  /** Nothing counts any more. */
  disarm(): void {
    this.#watch = null
    this.#rule('')
  }

  makeRoom(): void {
    this.#isFull = false
  }

  /** Something is about to be done. Returns which time it is. */
  enter(name: string): number {
    const nth = (this.#counts.get(name) ?? 0) + 1
    this.#counts.set(name, nth)
    if (this.#watch?.harm === null) append(this.#watch.trace, `${name}\n`)
    this.#killAt(name, nth, 'before')
    return nth
  }

  /** It is done. */
  leave(name: string, nth: number): void {
    this.#killAt(name, nth, 'after')
  }

  /** Does something between {@link enter} and {@link leave}. */
  async around<Result>(name: string, work: (nth: number) => Promise<Result>): Promise<Result> {
    const nth = this.enter(name)
    const result = await work(nth)
    this.leave(name, nth)
    return result
  }

  /**
   * Does something to a file between {@link enter} and {@link leave}; the disk may refuse.
   *
   * @param half Does half of it, where that can be.
   */
  async aroundFile<Result>(
    name: string,
    work: () => Promise<Result>,
    half?: () => Promise<unknown>,
  ): Promise<Result> {
    return await this.around(name, async (nth) => {
      const torn = this.#harmAt(name, nth, 'torn')
      if (torn !== undefined) {
        await half?.()
        if (torn.kind === 'kill') killSelf()
      }
      this.refuse(name, nth)
      return await work()
    })
  }

  /** Throws what the disk answers where it is to refuse, and while it is full. */
  refuse(name: string, nth: number): void {
    const harm = this.#harmAt(name, nth, 'before') ?? this.#harmAt(name, nth, 'torn')
    if (harm?.kind === 'ENOSPC') {
      this.#isFull = true
      this.#diskIsFull()
    }
    const code = this.#isFull && takesRoom.test(name) ? 'ENOSPC' : harm?.kind === 'EIO' ? 'EIO' : undefined
    if (code === undefined) return
    this.#harmed = true
    throw Object.assign(new Error(`${code}: the test's disk, ${name}`), { code })
  }

  #killAt(name: string, nth: number, side: Side): void {
    if (this.#harmAt(name, nth, side)?.kind === 'kill') killSelf()
  }

  #harmAt(name: string, nth: number, side: Side): Harm | undefined {
    const harm = this.#watch?.harm ?? undefined
    return harm?.at.name === name && harm.at.nth === nth && harm.side === side ? harm : undefined
  }

  #rule(rule: string): void {
    write(`${this.#rules}.next`, rule)
    rename(`${this.#rules}.next`, this.#rules)
  }
}

/** What a full disk refuses. */
const takesRoom = /^(write|datasync|sync|open|mkdir) /

function shimRule({ harm, trace }: Watch): string {
  if (harm === null) return `* all trace ${trace}\n`
  return harm.at.name.startsWith('C_') ? `${harm.at.name} ${harm.at.nth} kill-${harm.side}\n` : ''
}

/** As a loss of power does it: nothing is flushed, no handler runs. */
function killSelf(): never {
  process.kill(process.pid, 'SIGKILL')
  // The signal ends every thread, but nothing says that it does so before the next instruction.
  Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)
  throw new Error('SIGKILL did not end this process.')
}
