import { open, rename, rm } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { systemClock, type Clock } from '../agent/clock.ts'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { AgentMetrics } from './agent-metrics.ts'

/** How metrics are written to a file. */
export interface MetricsFileOptions {
  /** In the folder of node_exporter's textfile collector; it reads names that end in `.prom`. */
  readonly file: string
  /** How often it is written, in milliseconds. Default 15 000. */
  readonly intervalMs?: number
  /** Told of a failure to write; the next try is at the usual time. Default: a warning of the process. */
  readonly failed?: (error: LeafkeeperError) => void
  /** For tests and simulations. */
  readonly clock?: Clock
}

/** Metrics that are written to a file until it is closed. */
export interface MetricsFile {
  /** Writes once more, and then no more. */
  close(): Promise<void>
}

/**
 * Writes metrics to a file for node_exporter's textfile collector: now, and then at an interval. Readers see a whole
 * file, old or new; it can be read by everybody.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where the name or the interval is wrong, or the file cannot be written
 */
export async function writeMetrics(metrics: AgentMetrics, options: MetricsFileOptions): Promise<MetricsFile> {
  const { file, intervalMs = 15_000, clock = systemClock } = options
  const { failed = (error: LeafkeeperError) => process.emitWarning(error.message) } = options
  if (!file.endsWith('.prom'))
    throw invalid(`Expected the name of the metrics file to end in .prom, got ${file}.`)
  if (!(intervalMs >= 100)) throw invalid(`Expected intervalMs to be at least 100, got ${intervalMs}.`)
  const write = async (): Promise<LeafkeeperError | undefined> => {
    try {
      await writeAtomically(file, metrics)
      return undefined
    } catch (cause) {
      return invalid(`Metrics cannot be written to ${file} (${messageOf(cause)}).`, cause)
    }
  }
  const writeAgain = async (): Promise<void> => {
    const error = await write()
    if (error !== undefined) failed(error)
  }
  const error = await write()
  if (error !== undefined) throw error

  let closed: Promise<void> | undefined
  let working: Promise<void> = Promise.resolve()
  let cancel = (): void => undefined
  const wait = (): void => {
    cancel = clock.wakeAt(clock.now() + intervalMs, () => {
      working = writeAgain().then(() => {
        if (closed === undefined) wait()
      })
    })
  }
  wait()
  return {
    close: () =>
      (closed ??= (async () => {
        cancel()
        await working
        await writeAgain()
      })()),
  }
}

/** The draft's name does not end in `.prom`, so that the collector leaves it alone. */
async function writeAtomically(file: string, metrics: AgentMetrics): Promise<void> {
  const draft = join(dirname(file), `.${basename(file)}.${process.pid}`)
  try {
    const handle = await open(draft, 'w', 0o644)
    try {
      // The umask may have taken away what the collector's user needs.
      await handle.chmod(0o644)
      await handle.writeFile(await metrics.text())
    } finally {
      await handle.close()
    }
    await rename(draft, file)
  } catch (error) {
    await rm(draft, { force: true })
    throw error
  }
}

function invalid(message: string, cause?: unknown): LeafkeeperError {
  return new LeafkeeperError('AGENT_CONFIG_INVALID', { message, ...(cause === undefined ? {} : { cause }) })
}
