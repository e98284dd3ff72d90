import type { Handle } from 'pkcs11js'
import { describe, expect, test } from 'vitest'
import { SessionPool } from '../../src/hsm/session-pool.ts'
import { ckr } from '../support/spy-module.ts'

/** A token that gives at most `most` sessions. */
function newToken(most = Infinity): {
  pool: (limit: number) => SessionPool
  open: Set<Handle>
  opened: () => number
} {
  const open = new Set<Handle>()
  let opened = 0
  const door = {
    open: () => {
      if (open.size >= most) throw ckr('CKR_SESSION_COUNT')
      opened += 1
      const session = Buffer.of(opened)
      open.add(session)
      return session
    },
    close: (session: Handle) => {
      open.delete(session)
    },
  }
  return { pool: (limit) => new SessionPool(door, limit), open, opened: () => opened }
}

/** Work that ends when it is told to. */
function gate(): { work: (session: Handle) => Promise<Handle>; end: () => void } {
  const { promise, resolve } = withResolvers()
  return {
    work: async (session) => {
      await promise
      return session
    },
    end: resolve,
  }
}

function withResolvers(): { promise: Promise<void>; resolve: () => void } {
  let resolve = (): void => undefined
  const promise = new Promise<void>((done) => (resolve = done))
  return { promise, resolve }
}

describe('a pool of sessions', () => {
  test('opens no more than its limit, and serves who waits in order', async () => {
    const token = newToken()
    const pool = token.pool(2)
    const [one, two] = [gate(), gate()]
    const order: string[] = []
    const done = [
      pool.use(one.work),
      pool.use(two.work),
      pool.use(() => Promise.resolve(order.push('third'))),
      pool.use(() => Promise.resolve(order.push('fourth'))),
    ]
    expect(token.opened()).toBe(2)
    one.end()
    await Promise.all(done.slice(2))
    expect(order).toEqual(['third', 'fourth'])
    two.end()
    await Promise.all(done)
    expect(token.opened()).toBe(2)
  })

  test('gives a session to one user at a time', async () => {
    const token = newToken()
    const pool = token.pool(3)
    const busy = new Set<Handle>()
    const use = (): Promise<void> =>
      pool.use(async (session) => {
        expect(busy.has(session)).toBe(false)
        busy.add(session)
        await Promise.resolve()
        busy.delete(session)
      })
    await Promise.all(Array.from({ length: 100 }, use))
    expect(token.opened()).toBe(3)
  })

  test('gives the session back when the work fails', async () => {
    const pool = newToken().pool(1)
    await expect(pool.use(() => Promise.reject(new Error('no')))).rejects.toThrow('no')
    expect(await pool.use(() => Promise.resolve('yes'))).toBe('yes')
  })

  test('makes do with fewer where the token gives fewer', async () => {
    const token = newToken(1)
    const pool = token.pool(8)
    const first = gate()
    const results = [pool.use(first.work), pool.use((session) => Promise.resolve(session))]
    first.end()
    const [one, two] = await Promise.all(results)
    expect(two).toBe(one)
    expect(pool.limit).toBe(1)
  })

  test('says so where the token gives none', async () => {
    await expect(
      newToken(0)
        .pool(8)
        .use(() => Promise.resolve()),
    ).rejects.toThrow('CKR_SESSION_COUNT')
  })

  test('opens new sessions after it forgot the old ones, and closes those when their work ends', async () => {
    const token = newToken()
    const pool = token.pool(1)
    const old = gate()
    const result = pool.use(old.work)
    pool.forget()
    const fresh = await pool.use((session) => Promise.resolve(session))
    old.end()
    expect(await result).not.toBe(fresh)
    expect([...token.open]).toEqual([fresh])
  })

  test('closes after the running work, and refuses who waits or comes later', async () => {
    const token = newToken()
    const pool = token.pool(1)
    const running = gate()
    const result = pool.use(running.work)
    const waiting = pool.use(() => Promise.resolve())
    const closed = pool.close()
    await expect(waiting).rejects.toMatchObject({ code: 'HSM_CLOSED' })
    await expect(pool.use(() => Promise.resolve())).rejects.toMatchObject({ code: 'HSM_CLOSED' })
    expect(token.open.size).toBe(1)
    running.end()
    await Promise.all([result, closed])
    expect(token.open.size).toBe(0)
  })
})
