import { describe, expect, it } from 'vitest'
import type { RollReport } from '../../src/agent/agent-events.ts'
import { RollWaiters } from '../../src/agent/roll-waiters.ts'
import { LeafkeeperError } from '../../src/errors.ts'
import { DrivenMachine } from '../support/machine.ts'

const report: RollReport = {
  requestId: 'r',
  mode: 'expiry',
  generation: 2,
  oldThumbprint: 'A',
  newThumbprint: 'B',
  notAfter: new Date(0),
  durationMs: 2,
  blackoutMs: 1,
}
const idle = new DrivenMachine().bootstrapped()

describe('those who wait for a roll', () => {
  it('are not let go before the machine has taken their request', async () => {
    const waiters = new RollWaiters()
    const waiting = waiters.wait('r')
    waiters.settle(idle.state)
    waiters.resolve('r', report)
    await expect(waiting).resolves.toBe(report)
  })

  it('are told when the machine has taken it and does not carry it out', async () => {
    const waiters = new RollWaiters()
    const waiting = waiters.wait('r')
    waiters.taken('r')
    waiters.settle(idle.state)
    await expect(waiting).rejects.toMatchObject({ code: 'AGENT_STATE_INVALID' })
  })

  it('go on waiting while the roll is under way, waits its turn, or overtakes', async () => {
    const waiters = new RollWaiters()
    const outcomes: string[] = []
    for (const id of ['expiry-roll', 'breach-roll'])
      waiters.wait(id).catch((error: unknown) => {
        outcomes.push(`${id} ${error instanceof LeafkeeperError ? error.code : 'other'}`)
      })
    waiters.taken('expiry-roll')
    waiters.taken('breach-roll')
    const machine = new DrivenMachine().bootstrapped().roll().generated().issued().stored().roll('breach')
    waiters.settle(machine.state)
    await Promise.resolve()
    expect(outcomes).toEqual([])
    // The breach begins when the proof has failed; the expiry roll is no longer spoken of.
    machine.fails('register', { code: 'DPS_UNAUTHORIZED', retryable: false, retryAfterMs: null })
    waiters.settle(machine.state)
    await Promise.resolve()
    expect(outcomes).toEqual(['expiry-roll AGENT_STATE_INVALID'])
  })

  it('are all let go when the agent stops', async () => {
    const waiters = new RollWaiters()
    const waiting = waiters.wait('r')
    waiters.rejectAll(new LeafkeeperError('AGENT_STOPPED'))
    await expect(waiting).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
  })
})
