/** How long a story waits for anything, in milliseconds. What works takes a second or two. */
const defaultLimitMs = 30_000

/**
 * What the promise settles to, unless that takes too long. Leaves no timer behind.
 *
 * @param what What is waited for, as in "Waited 30 s in vain for the device to connect."
 * @throws Error naming what was waited for
 */
export async function within<T>(what: string, promise: Promise<T>, limitMs = defaultLimitMs): Promise<T> {
  let timer: NodeJS.Timeout | undefined
  const limit = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new Error(`Waited ${limitMs / 1000} s in vain for ${what}.`)), limitMs)
  })
  try {
    return await Promise.race([promise, limit])
  } finally {
    clearTimeout(timer)
  }
}
