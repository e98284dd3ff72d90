import { createHash } from 'node:crypto'
import { open, readFile, rename } from 'node:fs/promises'
import { basename, dirname } from 'node:path'

const format = 'leafkeeper-sim 2'

/**
 * One JSON value in one file: a line with the format and the SHA-256 of the rest, then the JSON. It is replaced as a
 * whole: written beside it, flushed, and renamed, so that after a crash there is the old value or the new one.
 */
export class StateFile {
  readonly path: string
  #kept: string | undefined

  constructor(path: string) {
    this.path = path
  }

  /** @returns the value, or `undefined` when there is no file @throws Error that names the file and the cure */
  async read(): Promise<unknown> {
    const text = await readFile(this.path, 'utf8').catch((error: unknown) => {
      if (isMissing(error)) return undefined
      throw error
    })
    if (text === undefined) return undefined
    const end = text.indexOf('\n')
    const json = text.slice(end + 1)
    const [, version, digest] = /^(leafkeeper-sim \d+) ([0-9a-f]{64})$/.exec(text.slice(0, end)) ?? []
    if (version === undefined) throw this.#damaged('its first line is not that of a state file')
    if (version !== format) throw this.#damaged(`it has the format "${version}", expected "${format}"`)
    if (digest !== digestOf(json)) throw this.#damaged('its checksum is wrong')
    this.#kept = json
    return JSON.parse(json)
  }

  /** Replaces the value; does nothing when it is the one that is there. Calls must not overlap. */
  async write(value: unknown): Promise<void> {
    const json = JSON.stringify(value)
    if (json === this.#kept) return
    const beside = `${this.path}.new`
    // It holds private keys and access keys.
    const file = await open(beside, 'w', 0o600)
    try {
      await file.writeFile(`${format} ${digestOf(json)}\n${json}`)
      await file.sync()
    } finally {
      await file.close()
    }
    await rename(beside, this.path)
    // The name must outlive a crash as well as the bytes.
    const folder = await open(dirname(this.path), 'r')
    try {
      await folder.sync()
    } finally {
      await folder.close()
    }
    this.#kept = json
  }

  #damaged(why: string): Error {
    return new Error(
      `The state in ${this.path} cannot be used: ${why}. ` +
        `Put back a copy of ${basename(this.path)}, or remove the file to begin with an empty cloud.`,
    )
  }
}

function digestOf(json: string): string {
  return createHash('sha256').update(json).digest('hex')
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'ENOENT'
}
