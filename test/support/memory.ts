import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

// What V8 compiles for speed grows for long, and is no leak: without it what is left are the objects of the program.
setFlagsFromString('--no-opt')
setFlagsFromString('--expose-gc')
const collect = runInNewContext('gc') as () => void

/** What the process has in memory, in bytes. */
export interface MemoryUse {
  /** The JavaScript heap. */
  readonly heap: number
  /** Everything, that of native libraries included. */
  readonly resident: number
}

/** What is in memory after a full collection: two, since finalisers that run after the first free more. */
export async function memoryInUse(): Promise<MemoryUse> {
  for (let turn = 0; turn < 2; turn += 1) {
    collect()
    await new Promise((resolve) => setImmediate(resolve))
  }
  const { heapUsed, rss } = process.memoryUsage()
  return { heap: heapUsed, resident: rss }
}

/**
 * How much a series grows from one value to the next: the median of the slopes between all pairs (Theil and Sen), which
 * a few values that lie far out, such as a collection that came too early, do not bend.
 */
export function growth(series: readonly number[]): number {
  const slopes = series.flatMap((from, first) =>
    series.slice(first + 1).map((to, further) => (to - from) / (further + 1)),
  )
  slopes.sort((a, b) => a - b)
  const middle = slopes[Math.floor(slopes.length / 2)]
  if (middle === undefined) throw new RangeError('Expected at least two values to see growth.')
  return middle
}
