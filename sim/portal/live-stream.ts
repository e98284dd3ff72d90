import { setTimeout as wait } from 'node:timers/promises'
import type { Context } from 'hono'
import { streamSSE } from 'hono/streaming'
import { ServiceError } from '../errors.ts'

/** The least time between two looks at a page, in milliseconds: messages come by the hundred a second. */
const shortest = 250
/** The longest: the charts move on although nothing happens. */
const longest = 1000

/** Where the changes come from. */
export interface LiveSource {
  /** The live parts of the page at this moment, by id. @throws ServiceError 404 when there is no such page any more */
  readonly parts: () => ReadonlyMap<string, string>
  /** Tells that something may have changed. @returns what ends it */
  readonly onChange: (listener: () => void) => () => void
}

/**
 * Sends the live parts of a page, all of them at first and then each one when it has changed, as server-sent events
 * with the name `part` and `{ id, html }` as their data. Ends with the page in the browser, or when there is nothing
 * left to show (event `gone`).
 */
export function liveStream(context: Context, { parts, onChange }: LiveSource): Response {
  return streamSSE(context, async (stream) => {
    const ended = new AbortController()
    stream.onAbort(() => ended.abort())
    let wake: () => void = () => undefined
    const stop = onChange(() => wake())
    try {
      let sent: ReadonlyMap<string, string> = new Map()
      while (!ended.signal.aborted) {
        const changed = new Promise<void>((resolve) => {
          wake = resolve
        })
        const present = partsOrNone(parts)
        if (present === undefined) {
          await stream.writeSSE({ event: 'gone', data: '' })
          return
        }
        for (const [id, markup] of present) {
          if (sent.get(id) === markup) continue
          await stream.writeSSE({ event: 'part', data: JSON.stringify({ id, html: markup }) })
        }
        sent = present
        await pause(shortest, ended.signal)
        await Promise.race([changed, pause(longest - shortest, ended.signal)])
      }
    } finally {
      stop()
    }
  })
}

function partsOrNone(parts: LiveSource['parts']): ReadonlyMap<string, string> | undefined {
  try {
    return parts()
  } catch (error) {
    if (error instanceof ServiceError && error.status === 404) return undefined
    throw error
  }
}

/** Resolves in time, or as soon as it is told to end. */
async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await wait(ms, undefined, { signal }).catch(() => undefined)
}
