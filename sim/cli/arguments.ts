import { parseArgs } from 'node:util'
import { planListening } from '../cloud/listening.ts'
import type { CloudOptions } from '../cloud/options.ts'
import { readFault, type SetFault } from '../faults/names.ts'

/** What `leafkeeper-sim` is asked to do. */
export interface SimulatorOptions {
  readonly cloud: CloudOptions
  /** Set before anything is printed. */
  readonly faults: readonly SetFault[]
  /** Whether to open the portal. */
  readonly portal: boolean
  readonly json: boolean
  /** Where the PEM of the server's authority is written; `undefined` for a file that goes with the process. */
  readonly caFile: string | undefined
}

/** A command line that was read: something to run, help, or what is wrong with it. */
export type CommandLine =
  | { readonly kind: 'run'; readonly options: SimulatorOptions }
  | { readonly kind: 'help' }
  | { readonly kind: 'mistake'; readonly message: string }

export const usage = `Usage: leafkeeper-sim [options]

Runs a local Azure IoT: DPS and IoT hubs for the official SDKs as they are.
It prints what they need, and runs until Ctrl-C.

  --hubs A,B         names of the hubs, all linked to DPS (default hub-a,hub-b)
  --port PORT        port of 127.0.0.1 (default: a free one)
  --own-address IP   ports 443 and 8883 of this loopback address, such as
                     127.0.0.2, and lines for the hosts file: programs
                     written for Azure come here unchanged (needs root)
  --data FOLDER      keep everything here across restarts and crashes
  --portal           open a web page that shows it, and print its address
  --fault NAME[=N]   let this go wrong; may stand more than once
  --seed N           for faults that come by chance (default 1)
  --ca-file FILE     write the authority to trust here (default: a temporary
                     file, removed at the end)
  --json             print one JSON object on one line when ready
  --help             print this
`

/**
 * Reads a command line.
 *
 * @example
 * ```ts
 * readArguments(['--hubs', 'factory', '--port', '8883'])
 * // { kind: 'run', options: { cloud: { hubs: ['factory'], port: 8883 }, faults: [], portal: false, json: false, caFile: undefined } }
 * ```
 */
export function readArguments(args: readonly string[]): CommandLine {
  try {
    const { values } = parseArgs({
      args: [...args],
      options: {
        hubs: { type: 'string' },
        port: { type: 'string' },
        'own-address': { type: 'string' },
        data: { type: 'string' },
        portal: { type: 'boolean', default: false },
        fault: { type: 'string', multiple: true, default: [] },
        seed: { type: 'string' },
        'ca-file': { type: 'string' },
        json: { type: 'boolean', default: false },
        help: { type: 'boolean', default: false },
      },
    })
    if (values.help) return { kind: 'help' }
    const { 'own-address': ownAddress } = values
    const cloud: CloudOptions = {
      ...(values.hubs === undefined ? {} : { hubs: readHubs(values.hubs) }),
      ...(values.port === undefined ? {} : { port: readNumber('--port', values.port, 65_535) }),
      ...(ownAddress === undefined ? {} : { ownAddress }),
      ...(values.seed === undefined ? {} : { seed: readNumber('--seed', values.seed, 2 ** 32 - 1) }),
      ...(values.data === undefined ? {} : { data: values.data }),
    }
    // Says what is wrong with an address before anything is started.
    planListening(cloud, undefined)
    const { portal, json, 'ca-file': caFile } = values
    return { kind: 'run', options: { cloud, faults: values.fault.map(readFault), portal, json, caFile } }
  } catch (error) {
    return { kind: 'mistake', message: error instanceof Error ? error.message : String(error) }
  }
}

function readHubs(text: string): readonly string[] {
  const names = text.split(',').map((name) => name.trim().toLowerCase())
  for (const name of names) {
    if (!/^[a-z0-9](?:[a-z0-9-]*[a-z0-9])?$/.test(name) || name.length > 50) {
      throw new RangeError(`--hubs: expected names of letters, digits and dashes, got "${name}".`)
    }
  }
  if (new Set(names).size < names.length)
    throw new RangeError('--hubs: expected each name once, got one twice.')
  return names
}

function readNumber(option: string, text: string, largest: number): number {
  const value = /^\d+$/.test(text) ? Number(text) : Number.NaN
  if (value <= largest) return value
  throw new RangeError(`${option}: expected a number from 0 to ${largest}, got "${text}".`)
}
