import { describe, expect, it } from 'vitest'
import type { FoundGeneration } from '../../src/agent/events.ts'
import { dpsPolicy, type DrivenMachine, facts, failure } from '../support/machine.ts'
import {
  unauthorized,
  dpsRefuses,
  fresh,
  connected,
  requesting,
  storing,
  proving,
  switching,
  retiring,
} from '../support/machine-stages.ts'

const whole = (number: number): FoundGeneration => ({
  number,
  keyId: `0${number}`,
  certificate: facts(number),
  hasKey: true,
})
const half = (number: number): FoundGeneration => ({ ...whole(number), certificate: null })

describe('a restart', () => {
  const restarts: [string, () => DrivenMachine, string, string[]][] = [
    ['while connected', connected, 'connecting idle', ['connectHub']],
    [
      'while a key is generated',
      () => connected().roll(),
      'connecting generating',
      ['connectHub', 'generateKey'],
    ],
    [
      'while a certificate is requested',
      requesting,
      'connecting requesting',
      ['connectHub', 'requestCertificate'],
    ],
    ['while a certificate is stored', storing, 'connecting storing', ['connectHub', 'storeCertificate']],
    ['while DPS is asked', proving, 'connecting staged', ['connectHub']],
    ['while it switches', switching, 'connecting staged', ['connectHub']],
    ['during the overlap', retiring, 'connecting retiring', ['connectHub']],
  ]

  it.each(restarts)('%s takes up the work', (_name, given, phases, effects) => {
    const machine = given()
    machine.start(machine.found())
    expect(machine.phases).toBe(phases)
    expect(machine.open.map((effect) => effect.kind).sort()).toEqual(effects)
  })

  it('ignores what the old process began', () => {
    const machine = switching()
    const { operation } = machine.take('connectHub')
    machine.start(machine.found()).send({ kind: 'hubConnected', operation })
    expect(machine.state.active).toBe(1)
    expect(machine.kinds).toEqual(['closeConnection'])
  })

  it('destroys a key that a crash left behind', () => {
    const machine = connected()
    machine.start([...machine.found(), { number: 9, keyId: '09', certificate: null, hasKey: true }])
    expect(machine.take('destroyGeneration').generation).toBe(9)
    expect(machine.state.nextGeneration).toBe(10)
  })

  it('with the journal lost asks DPS for the newest generation first, and goes on with it', () => {
    const machine = fresh().start([whole(4), whole(5)])
    expect(machine.state).toMatchObject({ active: null, roll: { phase: 'idle' } })
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 5 }])
    machine.registered().hubConnected()
    expect(machine.state.active).toBe(5)
    // The older one may have been in use until now: it stays for the overlap, as after a roll.
    machine.wake()
    expect(machine.at).toBe(1_000_000 + machine.state.policy.overlapMs)
    expect(machine.take('destroyGeneration').generation).toBe(4)
  })

  it('with the journal lost and the newest generation refused goes on with the older one and proves the newest', () => {
    const machine = fresh().start([half(3), whole(4), whole(5)])
    machine.fails('register', dpsRefuses).registered()
    expect(machine.take('connectHub').generation).toBe(4)
    machine.send({ kind: 'hubConnected', operation: machine.state.lastOperation })
    expect(machine.state).toMatchObject({ active: 4, roll: { phase: 'staged', plan: { generation: 5 } } })
    expect(machine.take('destroyGeneration').generation).toBe(3)
    machine.wake().registered().hubConnected()
    expect(machine.state.active).toBe(5)
  })

  it('with the journal lost destroys nothing before a hub has accepted a generation', () => {
    const machine = fresh().start([half(3), whole(4), whole(5)])
    machine.fails('register', dpsRefuses).fails('register', dpsRefuses)
    expect(machine.phases).toBe('refused idle')
    for (let again = 0; again < 3; again += 1)
      machine.wake().fails('register', dpsRefuses).fails('register', dpsRefuses)
    expect(machine.state.generations.map((g) => g.retireAt)).toEqual([null, null, null])
  })

  it('with the certificate of the active generation gone makes a new one, and keeps the key until it works', () => {
    const machine = connected()
    machine.start([half(1)])
    expect(machine.state.active).toBeNull()
    expect(machine.open).toMatchObject([{ kind: 'generateKey', generation: 2 }])
    machine.generated().issued().stored().registered().hubConnected()
    expect(machine.state.active).toBe(2)
    expect(machine.take('destroyGeneration').generation).toBe(1)
  })

  it('with a journal older than the token never destroys the complete generation it does not know', () => {
    const old = connected()
    old.start([...old.found(), { number: 2, keyId: '02', certificate: facts(2), hasKey: true }])
    expect(old.open.filter(({ kind }) => kind === 'destroyGeneration')).toEqual([])
    expect(old.state.roll).toMatchObject({ phase: 'staged', plan: { generation: 2 } })
    // The enrollment has only the new one.
    old.fails('connectHub', unauthorized).wake().fails('register', dpsRefuses).registered().hubConnected()
    expect(old.state.active).toBe(2)
  })

  it('with only the generation kept for the overlap left on the token uses that', () => {
    const machine = retiring()
    machine.start(machine.found().filter(({ number }) => number === 1))
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 1 }])
    expect(machine.state.generations).toMatchObject([{ number: 1, retireAt: null }])
  })

  it('clears up certificates whose key was destroyed before the crash', () => {
    const machine = connected()
    machine.start([...machine.found(), { number: 9, keyId: '09', certificate: facts(9), hasKey: false }])
    expect(machine.take('destroyGeneration').generation).toBe(9)
  })

  it('goes on with a generation that was stored just before the crash', () => {
    const machine = storing()
    machine.start([
      ...machine.found().filter(({ number }) => number === 1),
      { number: 2, keyId: '02', certificate: facts(2), hasKey: true },
    ])
    expect(machine.state.roll.phase).toBe('staged')
  })

  it('begins the roll anew when its key has vanished from the token', () => {
    const machine = requesting()
    machine.start(machine.found().filter((g) => g.number === 1))
    expect(machine.take('generateKey').generation).toBe(2)
  })
})

describe('a bootstrap that fails', () => {
  it('begins again by itself, with a new key', () => {
    const machine = fresh().start().generated().fails('requestCertificate', failure('ISSUER_REFUSED'))
    expect(machine.phases).toBe('offline failed')
    machine.destroyed().wake()
    expect(machine.take('generateKey').generation).toBe(2)
  })

  it('is not begun without an issuer: the agent says what is missing', () => {
    const machine = fresh()
    machine.send({
      kind: 'started',
      policy: dpsPolicy,
      commonName: 'gateway-7',
      found: [],
      fixedAssignment: null,
      bootstrap: null,
    })
    expect(machine.effects).toEqual([])
    expect(machine.phases).toBe('halted idle')
  })
})
