import { describe, expect, it } from 'vitest'
import type { AgentEvent } from '../../src/agent/events.ts'
import { Narrator, type Tell } from '../../src/agent/narrator.ts'
import { RollWaiters } from '../../src/agent/roll-waiters.ts'
import { LeafkeeperError } from '../../src/errors.ts'
import { DrivenMachine, failure, hubA } from '../support/machine.ts'

/** A machine whose every step is told. */
class ToldMachine extends DrivenMachine {
  readonly told: [name: string, argument: unknown][] = []
  readonly narrator: Narrator

  constructor() {
    super()
    const tell: Tell = (name, ...args) => void this.told.push([name, args[0]])
    this.narrator = new Narrator(tell, new RollWaiters(), () => 4.5)
  }

  override send(occurrence: Parameters<DrivenMachine['send']>[0]): this {
    const before = this.state
    super.send(occurrence)
    const event: AgentEvent = { ...occurrence, at: this.at, entropy: this.entropy }
    this.narrator.observe({ before, event, after: this.state })
    return this
  }

  /** What was told since the last look, without transitions. */
  news(): [string, unknown][] {
    return this.told.splice(0).filter(([name]) => name !== 'transition')
  }
}

describe('what the agent tells', () => {
  it('a bootstrap: staged, connected, rolled without an old certificate', () => {
    const machine = new ToldMachine().bootstrapped()
    expect(machine.news()).toMatchObject([
      ['staged', { generation: 1, thumbprint: 'T1' }],
      ['connected', { generation: 1, assignment: hubA, thumbprint: 'T1' }],
      ['rolled', { mode: 'bootstrap', oldThumbprint: null, newThumbprint: 'T1', blackoutMs: null }],
    ])
  })

  it('a roll: staged although it is proved at once, connected, rolled, and later retired', () => {
    const machine = new ToldMachine().bootstrapped()
    machine.news()
    machine.roll().generated().issued().stored()
    expect(machine.news()).toMatchObject([['staged', { generation: 2, thumbprint: 'T2' }]])
    machine.registered().hubConnected()
    expect(machine.news()).toMatchObject([
      ['connected', { generation: 2 }],
      ['rolled', { mode: 'expiry', oldThumbprint: 'T1', newThumbprint: 'T2', blackoutMs: 4.5 }],
    ])
    machine.wake().destroyed()
    expect(machine.news()).toEqual([['retired', { generation: 1 }]])
  })

  it('why it has halted, though the connection has ended for another reason since', () => {
    const machine = new ToldMachine().bootstrapped()
    const refused = new LeafkeeperError('HSM_PIN_INCORRECT', { message: 'The token said no.' })
    machine.roll()
    const [operation] = machine.open.map((effect) => effect.operation)
    machine.narrator.failed(
      { kind: 'generateKey', operation: operation ?? 0, generation: 2, keyType: 'EC-P256' },
      refused,
    )
    machine.fails('generateKey', failure('HSM_PIN_INCORRECT'))
    machine.narrator.ended(new LeafkeeperError('HUB_CONNECTION_LOST'))
    machine.disconnected()
    expect(machine.state.connection.phase).toBe('halted')
    expect(machine.narrator.lastError).toBe(refused)
  })

  it('nothing of a disconnection where the new connection had already taken over', () => {
    const machine = new ToldMachine().bootstrapped()
    const { lastOperation } = machine.state
    machine.roll().generated().issued().stored().registered().hubConnected()
    machine.news()
    machine.narrator.ended(new LeafkeeperError('HUB_CONNECTION_LOST'))
    machine.send({
      kind: 'hubDisconnected',
      operation: lastOperation,
      failure: failure('HUB_CONNECTION_LOST', true),
    })
    expect(machine.news()).toEqual([])
  })

  it('a disconnection with its cause, which is forgotten when the device is connected again', () => {
    const machine = new ToldMachine().bootstrapped()
    machine.news()
    const cause = new LeafkeeperError('HUB_CONNECTION_LOST', { reason: 'ECONNRESET' })
    machine.narrator.ended(cause)
    machine.disconnected()
    expect(machine.news()).toMatchObject([
      ['disconnected', cause],
      ['retry', { what: 'connection', code: 'HUB_CONNECTION_LOST' }],
    ])
    expect(machine.narrator.lastError).toBe(cause)
    machine.wake().hubConnected()
    expect(machine.narrator.lastError).toBeNull()
  })

  it('a failed roll with the error it failed with', () => {
    const machine = new ToldMachine().bootstrapped().roll().generated()
    machine.news()
    const [effect] = machine.open
    if (effect === undefined) throw new Error('nothing is under way')
    const error = new LeafkeeperError('CERT_KEY_MISMATCH', { message: 'The key is another one.' })
    machine.narrator.failed(effect, error)
    machine.fails('requestCertificate', failure('CERT_KEY_MISMATCH'))
    expect(machine.news()).toEqual([
      ['problem', { error, during: 'requestCertificate' }],
      ['rollFailed', { requestId: 'expiry-roll', error }],
    ])
  })

  it('every move of both regions', () => {
    const machine = new ToldMachine().bootstrapped()
    const moves = machine.told
      .filter(([name]) => name === 'transition')
      .map(([, argument]) => {
        const { region, from, to } = argument as { region: string; from: string; to: string }
        return `${region} ${from}->${to}`
      })
    expect(moves).toEqual([
      'roll idle->generating',
      'roll generating->requesting',
      'roll requesting->storing',
      'connection offline->provisioning',
      'roll storing->staged',
      'connection provisioning->connecting',
      'connection connecting->connected',
      'roll staged->idle',
    ])
  })
})
