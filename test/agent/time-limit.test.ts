import { getEventListeners } from 'node:events'
import { describe, expect, it } from 'vitest'
import { timeLimit } from '../../src/agent/time-limit.ts'
import { VirtualTime } from '../support/virtual-time.ts'
import { clockOf } from '../support/virtual-clock.ts'

describe('a limit in time', () => {
  const late = new Error('late')

  it('aborts when the time is over, and not before', () => {
    const time = new VirtualTime(0)
    const { signal } = timeLimit(new AbortController().signal, clockOf(time), 100, () => late)
    time.runUntil(99)
    expect(signal.aborted).toBe(false)
    time.runUntil(100)
    expect(signal.reason).toBe(late)
  })

  it.each(['before', 'after'])('aborts with the outer signal, aborted %s it began', (when) => {
    const outer = new AbortController()
    const reason = new Error('stopped')
    if (when === 'before') outer.abort(reason)
    const { signal } = timeLimit(outer.signal, clockOf(new VirtualTime(0)), 100, () => late)
    outer.abort(reason)
    expect(signal.reason).toBe(reason)
  })

  it('leaves nothing behind when it is released', () => {
    const time = new VirtualTime(0)
    const outer = new AbortController()
    const { signal, release } = timeLimit(outer.signal, clockOf(time), 100, () => late)
    expect(getEventListeners(outer.signal, 'abort')).toHaveLength(1)
    release()
    expect(getEventListeners(outer.signal, 'abort')).toHaveLength(0)
    time.runUntil(200)
    outer.abort()
    expect(signal.aborted).toBe(false)
  })
})
