import { execFileSync, spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import pkcs11 from 'pkcs11js'
import { softHsmModule } from './softhsm.ts'

/** A function of PKCS#11, or all of them. */
export type Pkcs11Function = `C_${string}` | '*'

/** The name of a return value of PKCS#11. */
export type ReturnValue = Extract<keyof typeof pkcs11, `CKR_${string}`>

/** What happens to the calls of one function; the grammar is explained in `pkcs11-shim/shim.c`. */
export type ShimRule = {
  readonly on: Pkcs11Function
  /** Which calls, counted since the rules were set; all by default. */
  readonly calls?: number | `${number}+`
} & (
  | { readonly fail: ReturnValue }
  /** The real module does its work, and its answer is lost. */
  | { readonly lose: ReturnValue }
  | { readonly delayMs: number }
  | { readonly then: 'kill-before' | 'kill-after' | 'crash' | 'empty' | 'remove' }
)

const source = fileURLToPath(new URL('pkcs11-shim/', import.meta.url))
const headers = fileURLToPath(new URL('../../node_modules/pkcs11js/includes', import.meta.url))
const cache = fileURLToPath(new URL('../../node_modules/.cache/leafkeeper/', import.meta.url))

/**
 * The path of the shim, a PKCS#11 module in place of SoftHSM; compiled when its source is new. `undefined` where
 * there is no C compiler: then tests that need it are skipped.
 */
export const shimModule: string | undefined = build()

/** For `describe.skipIf`: the reason stands in the title, so that the report shows it. */
export const withoutShim = shimModule === undefined

function build(): string | undefined {
  const compiler = ['cc', 'gcc', 'clang'].find((name) => spawnSync(name, ['--version']).status === 0)
  if (compiler === undefined) return undefined
  const digest = createHash('sha256')
  for (const file of readdirSync(source).sort()) digest.update(readFileSync(join(source, file)))
  const path = join(cache, `pkcs11-shim-${digest.digest('hex').slice(0, 16)}.so`)
  if (existsSync(path)) return path
  mkdirSync(cache, { recursive: true })
  // Test files start side by side: whoever is last puts the same file in place once more.
  const unfinished = `${path}.${process.pid}`
  const flags = '-std=c11 -D_GNU_SOURCE -shared -fPIC -O2 -fvisibility=hidden -Wall -Wextra -Werror'.split(
    ' ',
  )
  execFileSync(compiler, [
    ...[...flags, '-isystem', headers, '-o', unfinished],
    ...[join(source, 'shim.c'), '-ldl', '-lpthread'],
  ])
  renameSync(unfinished, path)
  return path
}

/** One PKCS#11 module with faults. Every process reads the same rules. */
export class Pkcs11Shim {
  /** Path of the module to load. */
  readonly module: string
  /** Where the rules are kept, for a process that writes its own. */
  readonly rulesFile: string
  readonly #trace: string

  /**
   * @param folder Where the rules and the trace are kept.
   */
  constructor(folder: string) {
    if (shimModule === undefined) throw new Error('There is no C compiler to build the PKCS#11 shim with.')
    this.module = shimModule
    this.rulesFile = join(folder, 'shim-rules')
    this.#trace = join(folder, 'shim-trace')
    Object.assign(process.env, this.environment)
  }

  /** What a process that loads the shim needs; this one has it already. */
  get environment(): Readonly<Record<string, string>> {
    return { LEAFKEEPER_SHIM_MODULE: softHsmModule, LEAFKEEPER_SHIM_RULES: this.rulesFile }
  }

  /** From the next call on, these rules hold, the first that fits before the others; none lets everything pass. */
  set(...rules: readonly ShimRule[]): void {
    this.#write(rules.map(toLine))
  }

  /** As {@link set}, and calls are noted from now on, for {@link calls}. */
  observe(...rules: readonly ShimRule[]): void {
    rmSync(this.#trace, { force: true })
    this.#write([`* all trace ${this.#trace}`, ...rules.map(toLine)])
  }

  /** Names of the functions that were called since {@link observe}, in order. */
  calls(): readonly string[] {
    return existsSync(this.#trace) ? readFileSync(this.#trace, 'utf8').trimEnd().split('\n') : []
  }

  /** Lets every call pass. */
  clear(): void {
    this.set()
  }

  /** A reader in between finds the old rules or the new ones. */
  #write(lines: readonly string[]): void {
    const next = `${this.rulesFile}.${process.pid}`
    writeFileSync(next, lines.map((line) => `${line}\n`).join(''))
    renameSync(next, this.rulesFile)
  }
}

function toLine(rule: ShimRule): string {
  const start = `${rule.on} ${rule.calls ?? 'all'}`
  if ('fail' in rule) return `${start} fail ${pkcs11[rule.fail]}`
  if ('lose' in rule) return `${start} lose ${pkcs11[rule.lose]}`
  if ('delayMs' in rule) return `${start} delay ${rule.delayMs}`
  return `${start} ${rule.then}`
}
