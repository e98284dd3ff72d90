import { existsSync, readdirSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it, vi } from 'vitest'
import { CleanUp } from '../../sim/story/clean-up.ts'
import type { Progress } from '../../sim/story/progress.ts'
import { tellStory } from '../../sim/story/story.ts'
import { faultsOf, summaryInWords, type StorySummary } from '../../sim/story/summary.ts'
import { within } from '../../sim/story/within.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const right: StorySummary = {
  commonName: 'gateway-7',
  oldThumbprint: 'A'.repeat(64),
  newThumbprint: 'B'.repeat(64),
  registrations: 4,
  unauthorizedSeen: true,
  reprovisionedOnUnauthorized: true,
  reprovisionedOnMethod: true,
  rolled: true,
  messagesSent: 270,
  messagesReceived: 270,
  messagesRejected: 0,
  messagesLost: 0,
  blackoutMs: 1.6,
  keyExtractable: false,
}

describe('the story', () => {
  // One story: a process has one SoftHSM configuration.
  it('comes out right, fits 80 columns, and leaves nothing behind', async () => {
    const stateFolder = await temporaryFolder()
    const exitListeners = process.listenerCount('exit')
    const lines: string[] = []
    const tokenFolders: string[] = []
    const progress: Progress = {
      step(title) {
        lines.push(`* ${title}`)
        tokenFolders.push(...readdirSync(stateFolder).map((name) => resolve(stateFolder, name)))
      },
      detail: (text) => void lines.push(`    ${text}`),
      done: () => void lines.push('done'),
      failed: (reason) => void lines.push(`! ${reason}`),
    }
    const summary = await tellStory(progress, { stateFolder })

    expect(faultsOf(summary)).toEqual([])
    const { messagesSent, blackoutMs, registrations } = summary
    expect(summary).toStrictEqual({
      ...right,
      oldThumbprint: expect.stringMatching(/^[0-9A-F]{64}$/) as unknown,
      newThumbprint: expect.stringMatching(/^[0-9A-F]{64}$/) as unknown,
      registrations,
      messagesSent,
      messagesReceived: messagesSent,
      blackoutMs,
    })
    expect(summary.newThumbprint).not.toBe(summary.oldThumbprint)
    // At first, for the roll, after unauthorized, on the direct method.
    expect(registrations).toBeGreaterThanOrEqual(4)
    expect(messagesSent).toBeGreaterThanOrEqual(200)
    expect(blackoutMs).toBeGreaterThanOrEqual(0)
    expect(JSON.parse(JSON.stringify(summary))).toEqual(summary)

    const text = lines.filter((line) => !line.includes(' tokens in ')).join('\n')
    expect(text).toContain('private key in the token leafkeeper-story')
    expect(text).toContain('extractable: no: it cannot leave the HSM')
    expect(text.split('\n').filter((line) => line.length > 80)).toEqual([])
    expect(lines.at(-1)).toBe('done')

    expect(tokenFolders.length).toBeGreaterThan(0)
    expect(tokenFolders.filter((folder) => existsSync(folder))).toEqual([])
    expect(process.listenerCount('exit')).toBe(exitListeners)
  })
})

describe('faults of a story', () => {
  it('are none when it came out right', () => {
    expect(faultsOf(right)).toEqual([])
  })

  it.each<[change: Partial<StorySummary>, fault: RegExp]>([
    [{ rolled: false }, /not rolled/],
    [{ newThumbprint: right.oldThumbprint }, /still has the old certificate/],
    [{ unauthorizedSeen: false }, /never refused/],
    [{ reprovisionedOnUnauthorized: false }, /did not come back by itself/],
    [{ reprovisionedOnMethod: false }, /direct method led to no registration/],
    [{ messagesSent: 0, messagesReceived: 0 }, /no message was sent/],
    [{ messagesRejected: 3 }, /3 sends were rejected/],
    [{ messagesReceived: 268, messagesLost: 2 }, /2 messages were lost/],
    [{ blackoutMs: null }, /was not measured/],
    [{ keyExtractable: true }, /can be extracted/],
  ])('%j', (change, fault) => {
    expect(faultsOf({ ...right, ...change })).toEqual([expect.stringMatching(fault)])
  })
})

describe('the summary in words', () => {
  it('fits 80 columns', () => {
    expect(
      summaryInWords(right)
        .split('\n')
        .filter((line) => line.length > 80),
    ).toEqual([])
  })

  it('does not show what was not measured as a number', () => {
    expect(summaryInWords(right)).toContain('1.6 ms without a usable hub connection')
    expect(summaryInWords({ ...right, blackoutMs: null })).toMatch(/roll .*connection was not measured$/m)
  })
})

describe('waiting', () => {
  it('gives what came in time, and leaves no timer', async () => {
    vi.useFakeTimers()
    try {
      expect(await within('an answer', Promise.resolve(7))).toBe(7)
      await expect(within('an answer', Promise.reject(new Error('no')))).rejects.toThrow('no')
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })

  it('ends after 30 s with an error that names what did not come', async () => {
    vi.useFakeTimers()
    try {
      const never = new Promise<never>(() => undefined)
      const waited = expect(within('the device to connect', never)).rejects.toThrow(
        'Waited 30 s in vain for the device to connect.',
      )
      await vi.advanceTimersByTimeAsync(30_000)
      await waited
      expect(vi.getTimerCount()).toBe(0)
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('cleaning up', () => {
  it('undoes the last thing first, after the task', async () => {
    const order: string[] = []
    const cleanUp = new CleanUp()
    for (const name of ['token', 'cloud', 'agent']) cleanUp.add(name, () => Promise.resolve(order.push(name)))
    expect(await cleanUp.after(() => Promise.resolve(order.push('task')))).toBe(1)
    expect(order).toEqual(['task', 'agent', 'cloud', 'token'])
  })

  it('undoes everything although the task and a step fail, and tells both', async () => {
    let undone = false
    const cleanUp = new CleanUp()
    cleanUp.add('the token to be removed', () => Promise.resolve((undone = true)))
    cleanUp.add('the agent to stop', () => Promise.reject(new Error('agent is stuck')))
    const task = new Error('task failed')
    const error: unknown = await cleanUp.after(() => Promise.reject(task)).catch((e: unknown) => e)
    expect(undone).toBe(true)
    expect(error).toBeInstanceOf(AggregateError)
    expect(error).toMatchObject({ errors: [task, new Error('agent is stuck')] })
  })

  it('throws what the task threw when that is all', async () => {
    const task = new Error('task failed')
    await expect(new CleanUp().after(() => Promise.reject(task))).rejects.toBe(task)
  })

  it('does not wait for a step that never ends', async () => {
    vi.useFakeTimers()
    try {
      let undone = false
      const cleanUp = new CleanUp()
      cleanUp.add('the token to be removed', () => Promise.resolve((undone = true)))
      cleanUp.add('the agent to stop', () => new Promise(() => undefined))
      const failed = expect(cleanUp.after(() => Promise.resolve())).rejects.toThrow('the agent to stop')
      await vi.advanceTimersByTimeAsync(10_000)
      await failed
      expect(undone).toBe(true)
    } finally {
      vi.useRealTimers()
    }
  })
})
