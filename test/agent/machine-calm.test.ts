import { describe, expect, it } from 'vitest'
import type { Failure } from '../../src/agent/events.ts'
import { defaultPolicy } from '../../src/agent/policy.ts'
import { scheduleOf } from '../../src/agent/step-retry.ts'
import type { Policy, ScheduleName } from '../../src/agent/states.ts'
import { errorTable, type ErrorCode } from '../../src/error-table.ts'
import { dpsPolicy, DrivenMachine, facts, failure, hubB } from '../support/machine.ts'
import {
  connected,
  dpsRefuses,
  network,
  proving,
  requesting,
  steady,
  unauthorized,
} from '../support/machine-stages.ts'

const day = 24 * 60 * 60 * 1_000
const longAsked = 400 * day

/** How long the machine waits from now on. */
const wait = (machine: DrivenMachine): number => (machine.state.wakeAt ?? Infinity) - machine.at

describe('each error has its schedule', () => {
  const expected: Record<Exclude<ScheduleName, 'retry' | 'refusal'>, ErrorCode[]> = {
    lost: ['HUB_CONNECTION_LOST'],
    debounce: ['HUB_UNAUTHORIZED'],
    busy: [
      'TLS_SERVER_UNTRUSTED',
      'ISSUER_UNAVAILABLE',
      'NETWORK_TIMEOUT',
      'PROTOCOL_ERROR',
      'DPS_THROTTLED',
      'DPS_UNAVAILABLE',
      'HUB_UNAVAILABLE',
    ],
  }
  const named = new Map(
    Object.entries(expected).flatMap(([schedule, codes]) => codes.map((code) => [code, schedule])),
  )

  it.each(Object.entries(errorTable))('%s', (code, { retryable }) => {
    const schedule = scheduleOf({ code: code as ErrorCode, retryable })
    expect(schedule).toBe(named.get(code as ErrorCode) ?? (retryable ? 'retry' : 'refusal'))
  })

  it.each<[ErrorCode, boolean, ScheduleName]>([
    ['DPS_UNAVAILABLE', true, 'busy'],
    ['DPS_THROTTLED', true, 'busy'],
    ['NETWORK_UNREACHABLE', true, 'retry'],
    ['DPS_UNAUTHORIZED', false, 'refusal'],
  ])('a registration that fails with %s waits by it', (code, retryable, schedule) => {
    const machine = registering().fails('register', failure(code, retryable))
    const { attempt } = { attempt: 1, ...machine.state.connection }
    const { baseMs } = defaultPolicy[schedule]
    expect(wait(machine)).toBe(baseMs * 2 ** (attempt - 1) * 0.75)
  })

  it.each<[ErrorCode, boolean, ScheduleName]>([
    ['ISSUER_UNAVAILABLE', true, 'busy'],
    ['HSM_DEVICE_ERROR', true, 'retry'],
  ])('a request that fails with %s waits by it', (code, retryable, schedule) => {
    const machine = requesting().fails('requestCertificate', failure(code, retryable))
    expect(wait(machine)).toBe(defaultPolicy[schedule].baseMs * 0.75)
  })

  it.each<[ErrorCode, boolean, ScheduleName]>([
    ['HUB_UNAUTHORIZED', false, 'busy'],
    ['NETWORK_UNREACHABLE', true, 'retry'],
    ['TLS_KEY_UNUSABLE', false, 'refusal'],
  ])('a switch that fails with %s waits by it', (code, retryable, schedule) => {
    const machine = proving().registered().fails('connectHub', failure(code, retryable))
    expect(wait(machine)).toBe(defaultPolicy[schedule].baseMs * 0.75)
  })
})

describe('chance', () => {
  const waits = (given: () => DrivenMachine, fails: (machine: DrivenMachine) => DrivenMachine): number[] =>
    [0, 0.5, 0.999].map((entropy) => {
      const machine = given()
      machine.entropy = entropy
      return wait(fails(machine))
    })

  it('has all of the delay when a hub is lost, as a whole fleet may have lost it', () => {
    expect(waits(steady, (m) => m.disconnected())).toEqual([Infinity, 2_500, 4_995])
  })

  it('has nearly all of the pause after unauthorized, which is never nothing', () => {
    const refused = waits(
      () => steady().disconnected().wake(),
      (m) => m.fails('connectHub', unauthorized),
    )
    expect(refused).toEqual([1_000, 5_500, 9_991])
  })

  it('has the upper half of every later delay', () => {
    const later = waits(
      () => steady().disconnected().wake().fails('connectHub', network).wake(),
      (m) => m.fails('connectHub', unauthorized),
    )
    expect(later).toEqual([10_000, 15_000, 19_990])
  })
})

describe('Retry-After', () => {
  it('is obeyed, and spread by as much as the schedule waits, since others were told the same', () => {
    const seconds = [0, 0.999].map((entropy) => {
      const machine = registering()
      machine.entropy = entropy
      return wait(machine.fails('register', failure('DPS_THROTTLED', true, 300_000)))
    })
    const { busy } = defaultPolicy
    expect(seconds).toEqual([300_000, Math.ceil(300_000 + 0.999 * busy.baseMs * 2)])
  })

  it('of less than the schedule waits changes nothing', () => {
    const short = wait(registering().fails('register', failure('DPS_THROTTLED', true, 1)))
    expect(short).toBe(wait(registering().fails('register', failure('DPS_THROTTLED', true))))
  })

  it.each<[what: string, given: () => DrivenMachine]>([
    ['DPS', () => registering().fails('register', throttledForYears)],
    ['DPS, beside the connection', () => refreshing().fails('register', throttledForYears)],
    ['DPS, of a staged generation', () => proving().fails('register', throttledForYears)],
    ['the issuer', () => requesting().fails('requestCertificate', throttledForYears)],
    ['the issuer, with a ticket', () => pending(longAsked)],
    ['the hub', () => steady().disconnected().wake().fails('connectHub', throttledForYears)],
  ])('of years from %s silences the device for a day', (_what, given) => {
    const { longestRetryAfterMs, refusal } = defaultPolicy
    expect(wait(given())).toBeGreaterThanOrEqual(longestRetryAfterMs)
    expect(wait(given())).toBeLessThan(longestRetryAfterMs + refusal.capMs)
  })
})

describe('shortly before the active certificate expires', () => {
  const longestWait = defaultPolicy.emergency.longestWaitMs * 0.75
  const lifetime = 10 * day
  const notAfter = 100 * day

  /** Connected with a certificate that lives for ten days; the clock stands so long before its end. */
  const nearExpiry = (msBefore: number, policy: Policy = dpsPolicy): DrivenMachine => {
    const machine = new DrivenMachine(policy)
    const certificate = { ...facts(1), notBefore: notAfter - lifetime, notAfter }
    machine.at = notAfter - msBefore - policy.stableAfterMs
    machine
      .start([{ number: 1, keyId: '01', hasKey: true, certificate }])
      .registered()
      .hubConnected()
    machine.at += policy.stableAfterMs
    return machine
  }
  const refusedRoll = (machine: DrivenMachine): DrivenMachine =>
    machine.roll().generated().issued().stored().fails('register', throttledForYears)

  it.each<[what: string, given: (machine: DrivenMachine) => DrivenMachine]>([
    ['a staged generation', refusedRoll],
    [
      'a pending request',
      (m) => {
        const { operation } = m.roll().generated().take('requestCertificate')
        return m.send({ kind: 'certificatePending', operation, ticket: 't', retryAfterMs: day })
      },
    ],
    [
      'a refused device',
      (m) =>
        m
          .disconnected()
          .wake()
          .fails('connectHub', unauthorized)
          .wake()
          .fails('register', {
            ...dpsRefuses,
            retryAfterMs: day,
          }),
    ],
  ])('no wait of %s is long', (_what, given) => {
    expect(wait(given(nearExpiry(day / 2)))).toBe(longestWait)
  })

  it('a wait that begins before that window ends soon after it has begun', () => {
    const machine = refusedRoll(nearExpiry(day + 3_600_000))
    expect(wait(machine)).toBe(3_600_000 + longestWait)
  })

  it('a short wait stays as it is', () => {
    const machine = nearExpiry(day / 2)
      .disconnected()
      .wake()
      .fails('connectHub', network)
    expect(wait(machine)).toBe(750)
  })

  it('the last part of a long life counts for no more than the window', () => {
    const policy: Policy = {
      ...dpsPolicy,
      emergency: { ...defaultPolicy.emergency, lifetimeShare: 1, windowMs: 3_600_000 },
    }
    expect(wait(refusedRoll(nearExpiry(7_200_000, policy)))).toBe(3_600_000 + longestWait)
    expect(wait(refusedRoll(nearExpiry(1_800_000, policy)))).toBe(longestWait)
  })

  it('it goes on for as long after the expiry, and not for ever', () => {
    expect(wait(refusedRoll(nearExpiry(-day)))).toBe(longestWait)
    expect(wait(refusedRoll(nearExpiry(-day - 1)))).toBeGreaterThanOrEqual(day)
  })

  it('a device without a certificate has nothing to lose yet', () => {
    const machine = new DrivenMachine().start().fails('generateKey', failure('HSM_DEVICE_ERROR', true, day))
    expect(wait(machine)).toBeGreaterThanOrEqual(day)
  })
})

describe('unauthorized that comes and goes', () => {
  it('sends the device to DPS ever more rarely', () => {
    const machine = steady()
    const registrations: number[] = []
    for (let round = 0; round < 6; round += 1) {
      machine.disconnected().wake().fails('connectHub', unauthorized).wake()
      registrations.push(machine.at)
      machine.registered().hubConnected()
      machine.at += 1_000
    }
    const gaps = registrations.slice(1).map((at, index) => at - (registrations[index] ?? 0))
    expect(gaps[0]).toBeGreaterThan(30_000)
    expect(gaps).toEqual([...gaps].sort((a, b) => a - b))
  })

  it('with a hub that refuses what DPS has just assigned, no more than twice a minute from the start', () => {
    const machine = steady()
    machine.entropy = 0.001
    machine.disconnected().wake()
    const registrations: number[] = []
    for (let round = 0; round < 8; round += 1) {
      machine.fails('connectHub', unauthorized).wake()
      registrations.push(machine.at)
      machine.registered()
    }
    const minutes = registrations.map((from) =>
      registrations.filter((at) => at >= from && at < from + 60_000),
    )
    expect(Math.max(...minutes.map((inOne) => inOne.length))).toBe(2)
  })

  it('a registration that succeeds but for the hub does not count for ever', () => {
    const machine = steady()
    machine.disconnected().wake().fails('connectHub', unauthorized).wake().registered().hubConnected()
    machine.at += dpsPolicy.stableAfterMs
    machine.disconnected().wake().fails('connectHub', unauthorized)
    expect(wait(machine)).toBe(5_500)
  })

  it('what failed before a connection that lasted does not count when the device is moved to another hub', () => {
    const machine = connected().disconnected().wake()
    for (let failed = 0; failed < 5; failed += 1) machine.fails('connectHub', network).wake()
    machine.hubConnected()
    machine.at += dpsPolicy.stableAfterMs
    machine.send({ kind: 'reprovisionRequested' }).registered(hubB)
    machine.fails('connectHub', network)
    expect(wait(machine)).toBeLessThanOrEqual(dpsPolicy.retry.baseMs)
  })
})

const throttledForYears: Failure = failure('DPS_THROTTLED', true, longAsked)

/** Registers because the hub has refused it. */
function registering(): DrivenMachine {
  return steady().disconnected().wake().fails('connectHub', unauthorized).wake()
}

function refreshing(): DrivenMachine {
  return steady().send({ kind: 'reprovisionRequested' })
}

function pending(retryAfterMs: number): DrivenMachine {
  const machine = requesting()
  const { operation } = machine.take('requestCertificate')
  return machine.send({ kind: 'certificatePending', operation, ticket: 't', retryAfterMs })
}
