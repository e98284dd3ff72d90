import { describe, expect, it } from 'vitest'
import { TwinLink } from '../../src/agent/twin-link.ts'
import type { RollWindow } from '../../src/agent/states.ts'
import { LeafkeeperError } from '../../src/errors.ts'
import type { TwinChannel, TwinProperties } from '../../src/twin-channel.ts'

const unavailable = new LeafkeeperError('TWIN_UNAVAILABLE')
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** A twin in memory, whose answers can fail or wait. */
class FakeTwin implements TwinChannel {
  readonly reports: TwinProperties[] = []
  reads = 0
  failures: LeafkeeperError[] = []
  hold: Promise<void> = Promise.resolve()
  want: (patch: TwinProperties) => void = () => undefined

  readonly desired: TwinProperties
  readonly reported: TwinProperties

  constructor(desired: TwinProperties = {}, reported: TwinProperties = {}) {
    this.desired = desired
    this.reported = reported
  }

  async read(
    onDesired: (patch: TwinProperties) => void,
  ): Promise<{ desired: TwinProperties; reported: TwinProperties }> {
    this.reads += 1
    this.want = onDesired
    await this.#answer()
    return this
  }

  async report(patch: TwinProperties): Promise<void> {
    this.reports.push(patch)
    await this.#answer()
  }

  async #answer(): Promise<void> {
    await this.hold
    const failure = this.failures.shift()
    if (failure !== undefined) throw failure
  }
}

function linkTo(twin?: TwinChannel): {
  link: TwinLink
  says: (report: TwinProperties) => Promise<void>
  windows: (RollWindow | null)[]
  problems: string[]
  timers: { at: number; wake: () => void }[]
} {
  let report: TwinProperties = { phase: 'idle' }
  const windows: (RollWindow | null)[] = []
  const problems: string[] = []
  const timers: { at: number; wake: () => void }[] = []
  const link = new TwinLink({
    clock: {
      now: () => 0,
      wakeAt: (at, wake) => {
        const timer = { at, wake }
        timers.push(timer)
        return () => void timers.splice(timers.indexOf(timer), timers.includes(timer) ? 1 : 0)
      },
    },
    report: () => report,
    onWindow: (window) => windows.push(window),
    problem: (error) => problems.push(`${error.code} ${error.message}`),
  })
  link.attach(twin)
  const says = async (next: TwinProperties): Promise<void> => {
    report = next
    link.refresh()
    await turn()
  }
  return { link, says, windows, problems, timers }
}

describe('the report to the twin', () => {
  it('holds what the twin does not have yet, once', async () => {
    const twin = new FakeTwin({}, { leafkeeper: { phase: 'idle', old: 1 }, other: true })
    const { says } = linkTo(twin)
    await turn()
    expect(twin.reports).toEqual([])
    await says({ phase: 'generating', generation: 2 })
    await says({ phase: 'generating', generation: 2 })
    expect(twin.reports).toEqual([{ leafkeeper: { phase: 'generating', generation: 2 } }])
  })

  it('goes out one at a time; what changes meanwhile goes together', async () => {
    const twin = new FakeTwin()
    const { says } = linkTo(twin)
    await turn()
    let release: () => void = () => undefined
    twin.hold = new Promise((resolve) => (release = resolve))
    for (const phase of ['generating', 'requesting', 'storing']) await says({ phase })
    expect(twin.reports).toHaveLength(2)
    release()
    await turn()
    expect(twin.reports.map(({ leafkeeper }) => leafkeeper)).toEqual([
      { phase: 'idle' },
      { phase: 'generating' },
      { phase: 'storing' },
    ])
  })

  it('is made again from what the twin has on the next connection', async () => {
    const first = new FakeTwin()
    const { link, says } = linkTo(first)
    await turn()
    link.attach(undefined)
    await says({ phase: 'staged' })
    expect(first.reports).toHaveLength(1)
    const second = new FakeTwin({}, { leafkeeper: { phase: 'idle' } })
    link.attach(second)
    await turn()
    expect(second.reports).toEqual([{ leafkeeper: { phase: 'staged' } }])
  })

  it('that fails is told, and tried again later and later', async () => {
    const twin = new FakeTwin()
    twin.failures = [unavailable, unavailable, unavailable]
    const { problems, timers } = linkTo(twin)
    for (const seconds of [30, 60, 120]) {
      await turn()
      expect(timers).toMatchObject([{ at: seconds * 1_000 }])
      timers.splice(0)[0]?.wake()
    }
    await turn()
    expect(problems).toHaveLength(3)
    expect(twin.reads).toBe(4)
    expect(twin.reports).toHaveLength(1)
  })

  it('is not missed, and no problem, where the connection ends', async () => {
    const twin = new FakeTwin()
    twin.failures = [new LeafkeeperError('HUB_CONNECTION_LOST')]
    const { problems, timers } = linkTo(twin)
    await turn()
    expect({ problems, timers }).toEqual({ problems: [], timers: [] })
  })

  it('does not wait for the answer of a connection that is gone', async () => {
    const first = new FakeTwin()
    const { link, says } = linkTo(first)
    await turn()
    let fail: (error: Error) => void = () => undefined
    first.hold = new Promise((_resolve, reject) => (fail = reject))
    await says({ phase: 'proving' })
    const second = new FakeTwin()
    link.attach(second)
    await turn()
    fail(unavailable)
    await turn()
    expect(second.reports.at(-1)).toEqual({ leafkeeper: { phase: 'proving' } })
  })
})

describe('the window that the twin names', () => {
  const rollWindow = { start: '2026-05-01T08:00:00Z', end: '2026-05-01T09:00:00Z' }
  const window = { start: 1_777_622_400_000, end: 1_777_626_000_000, mode: 'expiry', source: 'twin' }

  it('is told when it is read, when it changes, and when it is taken back', async () => {
    const twin = new FakeTwin({ leafkeeper: { rollWindow } })
    const { windows } = linkTo(twin)
    await turn()
    twin.want({ leafkeeper: { rollWindow: { mode: 'breach' } }, other: 1 })
    twin.want({ other: 2 })
    twin.want({ leafkeeper: { rollWindow: null } })
    expect(windows).toEqual([window, { ...window, mode: 'breach' }, null])
  })

  it('is told once, on however many connections', async () => {
    const { link, windows } = linkTo(new FakeTwin({ leafkeeper: { rollWindow } }))
    await turn()
    link.attach(new FakeTwin({ leafkeeper: { rollWindow } }))
    await turn()
    expect(windows).toEqual([window])
  })

  it.each([
    { rollWindow: 'soon' },
    { rollWindow: { start: rollWindow.start } },
    { rollWindow: { start: rollWindow.end, end: rollWindow.start } },
    { rollWindow: { ...rollWindow, mode: 'bootstrap' } },
  ])('is refused by name: %j', async (leafkeeper) => {
    const { windows, problems } = linkTo(new FakeTwin({ leafkeeper }))
    await turn()
    expect(windows).toEqual([])
    expect(problems).toEqual([
      expect.stringContaining('TWIN_INVALID Expected the desired property leafkeeper.rollWindow'),
    ])
  })
})
