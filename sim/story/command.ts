import { parseArgs } from 'node:util'

/** What a command of this package is asked to do. */
export interface CommandOptions {
  /** Results are printed as one JSON object on the last line of the standard output. */
  readonly json: boolean
}

/** Exit codes of shells: 128 and the number of the signal. */
const signals = { SIGINT: 130, SIGTERM: 143 } as const

/**
 * Runs a command that knows `--json` and `--help`, and sets the exit code: what `run` gives, 1 when it throws, 2 for
 * arguments that do not exist.
 */
export async function runCommand(
  usage: string,
  run: (options: CommandOptions) => Promise<number>,
): Promise<void> {
  silenceEngineDeprecation()
  for (const [signal, code] of Object.entries(signals)) {
    // Exiting runs the `exit` listeners, which remove the token; the default action of a signal would not.
    process.once(signal, () => process.exit(code))
  }
  const options = readOptions(usage)
  if (typeof options === 'number') {
    process.exitCode = options
    return
  }
  try {
    process.exitCode = await run(options)
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
    // A device or a server that is stuck must not keep the process.
    process.exit(1)
  }
}

/** The options, or the exit code where there is nothing to run. */
function readOptions(usage: string): CommandOptions | number {
  try {
    const { values } = parseArgs({
      options: { json: { type: 'boolean', default: false }, help: { type: 'boolean', default: false } },
    })
    if (!values.help) return values
    process.stdout.write(usage)
    return 0
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${usage}`)
    return 2
  }
}

/**
 * Drops Node's warning that TLS engines are deprecated: the TLS binding is replaceable, and the warning tells a
 * newcomer nothing. Every other warning is printed as Node prints it.
 */
function silenceEngineDeprecation(): void {
  const listeners = process.listeners('warning')
  process.removeAllListeners('warning')
  process.on('warning', (warning) => {
    if ('code' in warning && warning.code === 'DEP0183') return
    for (const listener of listeners) listener.call(process, warning)
  })
}
