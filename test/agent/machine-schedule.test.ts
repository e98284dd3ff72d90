import { afterEach, describe, expect, it } from 'vitest'
import { readRollSchedule, type RollScheduleOptions } from '../../src/agent/roll-schedule.ts'
import { nextOwnRoll } from '../../src/agent/step-schedule.ts'
import type { CertificateFacts, Policy, RollWindow } from '../../src/agent/states.ts'
import { dpsPolicy, DrivenMachine, facts, failure } from '../support/machine.ts'

const minute = 60_000
const hour = 60 * minute
const day = 24 * hour
const year = 365 * day
const born = Date.UTC(2026, 0, 1)

const policyOf = (schedule: RollScheduleOptions): Policy => ({
  ...dpsPolicy,
  ownRolls: { keyType: 'EC-P384', schedule: readRollSchedule('schedule', schedule) },
})

/** What the next certificate is; the driven machine's own are valid for ever. */
interface Life {
  readonly lifetime: number
  readonly chainLifetime?: number
  readonly thumbprint?: string
}

/** A connected machine whose certificate, and each later one, lives this long. */
function living(life: Life, schedule: RollScheduleOptions, policy: Partial<Policy> = {}): DrivenMachine {
  const machine = new DrivenMachine({ ...policyOf(schedule), ...policy })
  machine.at = born
  machine.start().generated()
  issue(machine, life)
  machine.stored().registered().hubConnected()
  return machine
}

function certificate(machine: DrivenMachine, life: Life): CertificateFacts {
  const { lifetime, chainLifetime, thumbprint } = life
  return {
    ...facts(machine.state.nextGeneration - 1),
    ...(thumbprint === undefined ? {} : { thumbprint }),
    notBefore: machine.at,
    notAfter: machine.at + lifetime,
    ...(chainLifetime === undefined ? {} : { chainNotAfter: machine.at + chainLifetime }),
  }
}

function issue(machine: DrivenMachine, life: Life): void {
  const { operation, generation } = machine.take('requestCertificate')
  machine.send({
    kind: 'certificateIssued',
    operation,
    chain: `chain ${generation}`,
    certificate: certificate(machine, life),
  })
}

/** The machine sleeps until this instant at the most, and wakes as often as it wants to. */
function sleepUntil(machine: DrivenMachine, instant: number): DrivenMachine {
  while (machine.state.wakeAt !== null && machine.state.wakeAt <= instant) machine.wake()
  machine.at = Math.max(machine.at, instant)
  return machine
}

/** How far into its jitter a certificate is: not at all, half, as far as it can be. */
const thumbprints = { none: '00000000', half: '80000000', all: 'FFFFFFFF' }

describe('the policy table', () => {
  const lifetimes: [string, number][] = [
    ['10 minutes', 10 * minute],
    ['an hour', hour],
    ['a day', day],
    ['90 days', 90 * day],
    ['a year', year],
    ['10 years', 10 * year],
  ]
  const policies: RollScheduleOptions[] = [
    { at: '66%' },
    { at: '10%', jitter: '10%' },
    { at: '99%', jitter: '0%' },
    { before: '5m', jitter: '1m' },
    { before: '30d' },
    { before: '200d', jitter: '200d' },
  ]
  const table = lifetimes.flatMap(([name, lifetime]) =>
    policies.map((policy) => [JSON.stringify(policy), name, policy, lifetime] as const),
  )

  it.each(table)('%s of a certificate for %s', (_policy, _name, policy, lifetime) => {
    const [latest, middle, earliest] = Object.values(thumbprints).map((thumbprint) => {
      const machine = new DrivenMachine(policyOf(policy))
      machine.at = born
      const found = { ...certificate(machine, { lifetime, thumbprint }) }
      // Found on the token: nothing is known of the roll that brought it.
      machine.state = { ...machine.state, active: 1 }
      machine.start([{ number: 1, keyId: '01', certificate: found, hasKey: true }])
      return (nextOwnRoll(machine.state)?.at ?? Infinity) - born
    }) as [number, number, number]
    const { start, end } = bounds(policy, lifetime)
    // The thumbprint has 32 bits of chance.
    const grain = 1 + lifetime / 2 ** 31
    expect(Math.abs(latest - end)).toBeLessThan(grain)
    expect(Math.abs(earliest - start)).toBeLessThan(grain)
    expect(middle).toBeGreaterThanOrEqual(earliest)
    expect(middle).toBeLessThanOrEqual(latest)
    // Never at once, and never when it is too late.
    expect(earliest).toBeGreaterThanOrEqual(0)
    expect(latest).toBeLessThan(lifetime)
  })

  /** Said once more in other words than the code has. */
  function bounds(policy: RollScheduleOptions, lifetime: number): { start: number; end: number } {
    const schedule = readRollSchedule('schedule', policy)
    if (schedule === null) throw new Error('never')
    if (schedule.kind === 'at')
      return { start: lifetime * (schedule.share - schedule.jitterShare), end: lifetime * schedule.share }
    return {
      start: Math.max(lifetime - schedule.beforeMs - schedule.jitterMs, lifetime * 0.5),
      end: Math.max(lifetime - schedule.beforeMs, lifetime * 0.6),
    }
  }

  it('a roll begins at the instant of the table, and not before', () => {
    const machine = living({ lifetime: 90 * day }, { at: '66%' })
    const due = born + 90 * day * 0.66
    sleepUntil(machine, due - 1)
    expect(machine.phases).toBe('connected idle')
    sleepUntil(machine, due)
    expect(machine.phases).toBe('connected generating')
    expect(machine.take('generateKey')).toMatchObject({ generation: 2, keyType: 'EC-P384' })
    expect(machine.state.roll).toMatchObject({ plan: { mode: 'expiry', requestId: 'own-2-80000000' } })
  })

  it('nothing happens by itself with "never", nor without an issuer', () => {
    const never = living({ lifetime: day }, 'never')
    const alone = living({ lifetime: day }, { at: '66%' }, { ownRolls: null })
    for (const machine of [never, alone])
      expect(sleepUntil(machine, born + 2 * day).phases).toBe('connected idle')
  })
})

describe('dates that are peculiar', () => {
  const zone = process.env['TZ']
  afterEach(() => {
    if (zone === undefined) delete process.env['TZ']
    else process.env['TZ'] = zone
  })

  it.each([
    ['the clocks go forward', 'Europe/Berlin', '2026-03-29T01:00:00Z'],
    ['the clocks go back', 'Europe/Berlin', '2026-10-25T01:00:00Z'],
    ['they go by half an hour', 'Australia/Lord_Howe', '2026-04-04T15:00:00Z'],
    ['a day is left out', 'Pacific/Apia', '2011-12-30T10:00:00Z'],
    ['a second was added', 'UTC', '2017-01-01T00:00:00Z'],
    ['a leap day ends', 'UTC', '2028-02-29T23:59:59Z'],
    ['32 bits of seconds end', 'UTC', '2038-01-19T03:14:08Z'],
  ])('when %s, the roll is as far from both ends as ever', (_what, timeZone, at) => {
    process.env['TZ'] = timeZone
    const due = Date.parse(at)
    const machine = new DrivenMachine(policyOf({ at: '50%', jitter: '0%' }))
    machine.at = due - 45 * day
    machine.start().generated()
    issue(machine, { lifetime: 90 * day })
    machine.stored().registered().hubConnected()
    expect(nextOwnRoll(machine.state)?.at).toBe(due)
    expect(sleepUntil(machine, due - 1).phases).toBe('connected idle')
    expect(sleepUntil(machine, due).phases).toBe('connected generating')
  })
})

describe('a roll by schedule', () => {
  it('comes as early as the first authority of the chain that expires needs it', () => {
    const machine = living({ lifetime: year, chainLifetime: 100 * day }, { before: '30d', jitter: '0d' })
    expect(nextOwnRoll(machine.state)?.at).toBe(born + 70 * day)
  })

  it('does not run in circles where the chain is about to expire, whatever is issued', () => {
    const machine = living({ lifetime: year, chainLifetime: day }, { before: '30d' })
    const end = born + day
    let rolls = 0
    while (machine.state.wakeAt !== null && machine.state.wakeAt < end) {
      machine.wake()
      while (machine.open.some(({ kind }) => kind === 'destroyGeneration')) machine.destroyed()
      if (machine.state.roll.phase !== 'generating') continue
      rolls += 1
      machine.generated()
      issue(machine, { lifetime: year, chainLifetime: end - machine.at })
      machine.stored().registered().hubConnected()
    }
    expect(rolls).toBeGreaterThan(5)
    expect(rolls).toBeLessThan(20)
  })

  it('begins although the old key of the last one is still there, which leaves first', () => {
    const machine = living({ lifetime: hour }, { at: '66%' }, { overlapMs: 30 * day })
    sleepUntil(machine, born + hour * 0.66).generated()
    issue(machine, { lifetime: hour })
    machine.stored().registered().hubConnected()
    expect(machine.phases).toBe('connected retiring')
    sleepUntil(machine, machine.at + hour * 0.66)
    expect(machine.open).toMatchObject([{ kind: 'destroyGeneration', generation: 1 }])
    expect(machine.destroyed().phases).toBe('connected generating')
  })

  it('that failed is tried again while it is due, more and more seldom, and at once when asked', () => {
    const machine = living({ lifetime: 100 * day }, { at: '50%', jitter: '0%' })
    sleepUntil(machine, born + 50 * day).generated()
    const waits: number[] = []
    for (let round = 0; round < 4; round += 1) {
      machine.fails('requestCertificate', failure('ISSUER_REFUSED')).destroyed()
      expect(machine.phases).toBe('connected failed')
      const failedAt = machine.at
      while (machine.state.roll.phase === 'failed') machine.wake()
      waits.push((machine.at - failedAt) / minute)
      machine.generated()
    }
    expect(waits).toEqual([1.5, 3, 6, 12])
    machine.fails('requestCertificate', failure('ISSUER_REFUSED')).destroyed()
    expect(machine.roll().phases).toBe('connected generating')
  })

  it('is not repeated where somebody asked for one too early, and it failed', () => {
    const machine = living({ lifetime: 100 * day }, { at: '50%', jitter: '0%' })
    machine.roll().generated().fails('requestCertificate', failure('ISSUER_REFUSED')).destroyed()
    sleepUntil(machine, born + 50 * day - 1)
    expect(machine.phases).toBe('connected failed')
    expect(sleepUntil(machine, born + 50 * day).phases).toBe('connected generating')
  })

  it('has another request id each time, so that an issuer does not take it for a repetition', () => {
    const machine = living({ lifetime: 100 * day }, { at: '50%' })
    const ids = [0, 1].map(() => {
      while (machine.state.roll.phase !== 'generating') machine.wake()
      const { requestId } = machine.state.roll.plan
      machine.generated().fails('requestCertificate', failure('ISSUER_REFUSED')).destroyed()
      return requestId
    })
    expect(new Set(ids).size).toBe(2)
  })

  it('begins for a device that was off when it was due, and does not when its clock is behind', () => {
    const machine = living({ lifetime: 100 * day }, { at: '50%' })
    machine.at = born + 80 * day
    expect(machine.start(machine.found()).state.roll.phase).toBe('generating')
    const early = living({ lifetime: 100 * day }, { at: '50%' })
    early.at = 0
    expect(early.start(early.found()).state.roll.phase).toBe('idle')
  })

  it('waits while the disk takes no records', () => {
    const machine = living({ lifetime: day }, { at: '50%' })
    machine.send({ kind: 'journalChecked', writable: false })
    expect(sleepUntil(machine, born + day * 0.9).phases).toBe('connected idle')
    expect(machine.send({ kind: 'journalChecked', writable: true }).phases).toBe('connected generating')
  })
})

describe('a window that the cloud names', () => {
  const window = (part: Partial<RollWindow> = {}): RollWindow => ({
    start: born + 10 * day,
    end: born + 12 * day,
    mode: 'expiry',
    source: 'twin',
    ...part,
  })
  const named = (machine: DrivenMachine, value: RollWindow | null): DrivenMachine =>
    machine.send({ kind: 'rollWindowNamed', window: value })
  const inside = (thumbprint: string): DrivenMachine =>
    living({ lifetime: 100 * day, thumbprint }, { at: '50%' })

  it.each([
    ['at its start', thumbprints.none, born + 10 * day],
    ['in its middle', thumbprints.half, born + 11 * day],
    ['before its end', thumbprints.all, born + 12 * day - 1],
  ])('is met %s, as the thumbprint has it', (_where, thumbprint, at) => {
    const machine = named(inside(thumbprint), window())
    expect(nextOwnRoll(machine.state)).toEqual({ at, mode: 'expiry', because: 'window' })
    expect(sleepUntil(machine, at - 1).phases).toBe('connected idle')
    expect(sleepUntil(machine, at).phases).toBe('connected generating')
  })

  it('takes the place of the schedule, later as well as earlier', () => {
    const machine = named(inside(thumbprints.none), window({ start: born + 70 * day, end: born + 71 * day }))
    expect(sleepUntil(machine, born + 70 * day - 1).phases).toBe('connected idle')
    expect(sleepUntil(machine, born + 70 * day).phases).toBe('connected generating')
  })

  it('beyond the end of the certificate does not lose the device', () => {
    const machine = named(
      inside(thumbprints.none),
      window({ start: born + 200 * day, end: born + 201 * day }),
    )
    expect(nextOwnRoll(machine.state)?.at).toBe(born + 93 * day)
  })

  it('that is over is met at once', () => {
    const machine = inside(thumbprints.half)
    machine.at = born + 20 * day
    expect(named(machine, window()).phases).toBe('connected generating')
  })

  it('from before the certificate is none of its business', () => {
    const machine = inside(thumbprints.half)
    expect(named(machine, window({ start: born - day, end: born + day })).phases).toBe('connected idle')
    expect(nextOwnRoll(machine.state)?.because).toBe('schedule')
  })

  it('is met once, however often the cloud repeats it, and a new one once more', () => {
    const machine = named(inside(thumbprints.none), window())
    rollNow(sleepUntil(machine, born + 10 * day))
    expect(named(machine, window()).phases).toBe('connected retiring')
    expect(nextOwnRoll(machine.state)?.because).toBe('schedule')
    named(machine, window({ end: born + 13 * day, start: born + 11 * day }))
    sleepUntil(machine, born + 13 * day)
    while (machine.open.some(({ kind }) => kind === 'destroyGeneration')) machine.destroyed()
    expect(machine.state.roll).toMatchObject({ phase: 'generating', plan: { generation: 3 } })
  })

  it('is met by a roll that was asked for inside of it, and not by one before it', () => {
    const before = named(inside(thumbprints.all), window())
    rollNow(before.roll())
    expect(before.state.rollWindow).toMatchObject({ served: false })
    const within = named(inside(thumbprints.all), window())
    rollNow(sleepUntil(within, born + 11 * day).roll())
    expect(within.state.rollWindow).toMatchObject({ served: true })
  })

  it('can be taken back', () => {
    const machine = named(named(inside(thumbprints.none), window()), null)
    expect(nextOwnRoll(machine.state)?.because).toBe('schedule')
  })

  it('that a method named stays although the twin has none', () => {
    const machine = named(named(inside(thumbprints.none), window({ source: 'method' })), null)
    expect(nextOwnRoll(machine.state)?.because).toBe('window')
  })

  it('is kept over a restart', () => {
    const machine = named(inside(thumbprints.none), window())
    machine.at = born + 10 * day
    expect(machine.start(machine.found()).state.roll.phase).toBe('generating')
  })

  describe('for a breach', () => {
    const breach = window({ mode: 'breach' })

    it('overtakes a roll for expiry that is under way', () => {
      const machine = named(inside(thumbprints.none), breach)
      machine.at = born + 9 * day
      machine.roll().generated()
      sleepUntil(machine, born + 10 * day)
      expect(machine.state.roll).toMatchObject({ plan: { generation: 3, mode: 'breach' } })
    })

    it('is remembered while a roll for expiry proves itself, and not met by it', () => {
      const machine = named(inside(thumbprints.none), breach)
      machine.at = born + 10 * day - 1
      machine.roll().generated()
      issue(machine, { lifetime: 100 * day })
      machine.stored()
      sleepUntil(machine, born + 10 * day)
      expect(machine.state.roll).toMatchObject({ phase: 'proving', overtakenBy: { mode: 'breach' } })
      machine.registered().hubConnected()
      expect(machine.state).toMatchObject({
        rollWindow: { served: false },
        roll: { plan: { mode: 'breach', generation: 3 } },
      })
    })

    it('that fails is tried again', () => {
      const machine = named(inside(thumbprints.none), breach)
      sleepUntil(machine, born + 10 * day).generated()
      machine.fails('requestCertificate', failure('ISSUER_REFUSED')).destroyed()
      while (machine.state.roll.phase === 'failed') machine.wake()
      expect(machine.state.roll).toMatchObject({ phase: 'generating', plan: { mode: 'breach', round: 1 } })
    })
  })

  /** What has begun succeeds. */
  function rollNow(machine: DrivenMachine): void {
    machine.generated()
    issue(machine, { lifetime: 100 * day, thumbprint: thumbprints.none })
    machine.stored().registered().hubConnected()
  }
})
