import { spawn, type ChildProcessWithoutNullStreams } from 'node:child_process'
import { createInterface } from 'node:readline'
import { pinVariable, setUpVariable, type DeviceSetUp, type Order, type Word } from './conversation.ts'

/** What a device process does next that a test waits for. */
export type Outcome =
  | Extract<Word, { kind: 'settled' }>
  | { readonly kind: 'ended'; readonly signal: NodeJS.Signals | null; readonly code: number | null }
  /** It has said nothing that counts for too long. */
  | { readonly kind: 'silent' }

/** How to start a device. */
export interface DeviceLaunch {
  /** The bundle of `device.ts`. */
  readonly program: string
  readonly setUp: DeviceSetUp
  readonly environment: Readonly<Record<string, string>>
  readonly pin: string
}

/** What the test has to do for a running device. */
export interface DeviceListener {
  issue(csr: string): Promise<string>
  acknowledged(body: string): void
}

/** So long may a device take to settle, in milliseconds: a watchdog against one that hangs, not a wait. */
const patienceMs = 30_000

/** One device process, from its start to its end. */
export class DeviceProcess {
  readonly #child: ChildProcessWithoutNullStreams
  readonly #outcomes: Outcome[] = []
  readonly #story: string[] = []
  #wanted: ((outcome: Outcome) => void) | undefined

  constructor({ program, setUp, environment, pin }: DeviceLaunch, listener: DeviceListener) {
    this.#child = spawn(process.execPath, ['--no-warnings', program], {
      env: {
        ...process.env,
        ...environment,
        [setUpVariable]: JSON.stringify(setUp),
        [pinVariable]: pin,
      },
    })
    this.#child.stdin.on('error', () => {
      // It has ended, which is told by its exit.
    })
    this.#child.stderr.on('data', (text: Buffer) => this.#story.push(text.toString().trimEnd()))
    const lines = createInterface({ input: this.#child.stdout })
    lines.on('line', (line) => this.#hear(JSON.parse(line) as Word, listener))
    // What it said last is heard before its end is told.
    this.#child.on('close', (code, signal) => this.#happen({ kind: 'ended', code, signal }))
  }

  /** What it has said and printed that may explain a failure. */
  get story(): string {
    return this.#story.join('\n')
  }

  order(order: Order): void {
    this.#child.stdin.write(`${JSON.stringify(order)}\n`)
  }

  /** What it does next. */
  async next(): Promise<Outcome> {
    const ready = this.#outcomes.shift()
    if (ready !== undefined) return ready
    return await new Promise((resolve) => {
      const give = (outcome: Outcome): void => {
        if (this.#wanted !== give) return
        this.#wanted = undefined
        resolve(outcome)
      }
      this.#wanted = give
      AbortSignal.timeout(patienceMs).addEventListener('abort', () => give({ kind: 'silent' }))
    })
  }

  /** Ends it, if it has not ended. */
  end(): void {
    this.#child.kill('SIGKILL')
  }

  #hear(word: Word, listener: DeviceListener): void {
    switch (word.kind) {
      case 'acknowledged':
        return listener.acknowledged(word.body)
      case 'certificateWanted':
        void listener.issue(word.csr).then((chain) => {
          this.order({ kind: 'certificate', number: word.number, chain })
        })
        return
      case 'settled':
        return this.#happen(word)
      case 'problem':
      case 'rollFailed':
        this.#story.push(`${word.kind}: ${word.text}`)
        return
    }
  }

  #happen(outcome: Outcome): void {
    if (this.#wanted === undefined) this.#outcomes.push(outcome)
    else this.#wanted(outcome)
  }
}
