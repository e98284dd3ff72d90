import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { closeSync, openSync, watch } from 'node:fs'
import { mkdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'

/**
 * Programs that run beside a test and end with it. What they say goes into files: a module's call stands still until it
 * is answered, and a program whose pipe nobody empties meanwhile would never answer.
 */
export class Background {
  readonly #folder: string
  readonly #running: ChildProcess[] = []

  /** @param folder Where a folder for their output is made. */
  constructor(folder: string) {
    this.#folder = join(folder, 'output')
  }

  /**
   * Starts a program, and waits until it has said that it is ready.
   *
   * @param ready What stands in its output then.
   * @throws Error with its output where it ends before
   */
  async start(
    program: string,
    args: readonly string[],
    ready: RegExp,
    env: NodeJS.ProcessEnv = {},
  ): Promise<void> {
    await mkdir(this.#folder, { recursive: true })
    const path = join(this.#folder, String(this.#running.length))
    const output = openSync(path, 'w', 0o600)
    const folder = watch(this.#folder)
    try {
      const child = spawn(program, args, {
        env: { ...process.env, ...env },
        stdio: ['ignore', output, output],
      })
      this.#running.push(child)
      const ended = once(child, 'exit')
      const failed = ended.then(async ([code]) => {
        throw new Error(`${program} ended with ${String(code)}: ${await readFile(path, 'utf8')}`)
      })
      failed.catch(() => undefined)
      for (;;) {
        // Watched before it is looked for, so that nothing falls between.
        const changed = once(folder, 'change')
        if (ready.test(await readFile(path, 'utf8'))) return
        await Promise.race([changed, failed])
      }
    } finally {
      folder.close()
      closeSync(output)
    }
  }

  /** Ends them, the last one first. */
  async end(): Promise<void> {
    for (const child of this.#running.splice(0).reverse()) {
      if (child.exitCode !== null || child.signalCode !== null) continue
      const gone = once(child, 'exit')
      child.kill('SIGKILL')
      await gone
    }
  }
}
