import { SimulatedCloud } from '../cloud.ts'
import { Portal } from '../portal/portal.ts'
import { readArguments, usage, type SimulatorOptions } from './arguments.ts'
import { writeCaFile } from './ca-file.ts'
import { describeCloud, inWords } from './description.ts'

/** Where a command writes, and how it learns that it is to end. */
export interface Surroundings {
  readonly stdout: { write(text: string): unknown }
  readonly stderr: { write(text: string): unknown }
  /** Resolves when the command is to end; asked before anything is started, so that no signal is missed. */
  readonly stopped: () => Promise<unknown>
}

/**
 * `leafkeeper-sim`: starts a cloud, tells how to reach it, and ends it when asked to.
 *
 * @returns the exit code: 0 after a clean end, 1 when the cloud could not be started, 2 for a wrong command line
 */
export async function runSimulator(args: readonly string[], surroundings: Surroundings): Promise<number> {
  const { stdout, stderr } = surroundings
  const line = readArguments(args)
  switch (line.kind) {
    case 'help':
      stdout.write(usage)
      return 0
    case 'mistake':
      stderr.write(`leafkeeper-sim: ${line.message}\n\n${usage}`)
      return 2
    case 'run':
      try {
        await serve(line.options, surroundings)
        return 0
      } catch (error) {
        stderr.write(`leafkeeper-sim: ${error instanceof Error ? error.message : String(error)}\n`)
        return 1
      }
  }
}

async function serve(options: SimulatorOptions, { stdout, stopped }: Surroundings): Promise<void> {
  const end = stopped()
  const cloud = await SimulatedCloud.start(options.cloud)
  try {
    for (const { name, settings } of options.faults) cloud.faults.set(name, settings)
    const portal = options.portal ? await Portal.start(cloud) : undefined
    try {
      const caFile = await writeCaFile(cloud.trustedAuthorities, options.caFile)
      try {
        const description = describeCloud(cloud, caFile.path, portal)
        stdout.write(options.json ? `${JSON.stringify(description)}\n` : inWords(description))
        await end
      } finally {
        caFile.remove()
      }
    } finally {
      await portal?.close()
    }
  } finally {
    await cloud.close()
  }
}
