import { describe, expect, it } from 'vitest'
import { retriesOf, type Retry } from '../../src/agent/retries.ts'
import type { Occurrence } from '../../src/agent/events.ts'
import { DrivenMachine, failure } from '../support/machine.ts'

/** A machine that remembers what its last step has put off. */
class Retrying extends DrivenMachine {
  retries: readonly Retry[] = []

  override send(occurrence: Occurrence): this {
    const before = this.state
    super.send(occurrence)
    const event = { ...occurrence, at: this.at, entropy: this.entropy }
    this.retries = retriesOf({ before, event, after: this.state })
    return this
  }
}

const busy = failure('HSM_DEVICE_ERROR', true)
const bootstrapped = (): Retrying => new Retrying().bootstrapped()

describe('what is tried again', () => {
  const cases: [what: Retry['what'], code: Retry['code'], when: string, machine: () => Retrying][] = [
    ['connection', 'HUB_CONNECTION_LOST', 'a connection is lost', () => bootstrapped().disconnected()],
    [
      'connection',
      'NETWORK_UNREACHABLE',
      'a hub cannot be reached',
      () => bootstrapped().disconnected().wake().fails('connectHub', failure('NETWORK_UNREACHABLE', true)),
    ],
    [
      'connection',
      'DPS_UNAUTHORIZED',
      'every generation is refused',
      () =>
        new Retrying().start().generated().issued().stored().fails('register', failure('DPS_UNAUTHORIZED')),
    ],
    [
      'registration',
      'DPS_UNAVAILABLE',
      'DPS does not serve beside a connection',
      () =>
        bootstrapped()
          .send({ kind: 'reprovisionRequested' })
          .fails('register', failure('DPS_UNAVAILABLE', true)),
    ],
    ['roll', 'HSM_DEVICE_ERROR', 'no key is made', () => bootstrapped().roll().fails('generateKey', busy)],
    [
      'roll',
      'DPS_UNAUTHORIZED',
      'the new certificate is not enrolled',
      () =>
        bootstrapped().roll().generated().issued().stored().fails('register', failure('DPS_UNAUTHORIZED')),
    ],
    [
      'roll',
      'ISSUER_REFUSED',
      'the first certificate is refused',
      () => new Retrying().start().generated().fails('requestCertificate', failure('ISSUER_REFUSED')),
    ],
    [
      'destruction',
      'HSM_DEVICE_ERROR',
      'an old key cannot be destroyed',
      () =>
        bootstrapped()
          .roll()
          .generated()
          .issued()
          .stored()
          .registered()
          .hubConnected()
          .wake()
          .fails('destroyGeneration', busy),
    ],
  ]

  it.each(cases)('%s (%s): %s', (what, code, _when, drive) => {
    const machine = drive()
    expect(machine.retries).toMatchObject([{ what, code }])
    expect(machine.retries[0]?.at.getTime()).toBeGreaterThan(machine.at)
    expect(machine.retries[0]?.attempt).toBeGreaterThan(1)
  })

  it('counts on', () => {
    const machine = bootstrapped().roll()
    const attempts = [1, 2, 3].map(() => {
      machine.fails('generateKey', busy)
      const [retry] = machine.retries
      machine.wake()
      return retry?.attempt
    })
    expect(attempts).toEqual([2, 3, 4])
  })

  it('is nothing while all goes well, and nothing that only a person can mend', () => {
    const machine = bootstrapped()
    expect(machine.retries).toEqual([])
    machine.roll().generated().fails('requestCertificate', failure('ISSUER_REFUSED'))
    expect(machine.retries).toEqual([])
  })
})
