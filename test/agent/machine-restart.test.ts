import { describe, expect, it } from 'vitest'
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

  it('with the journal lost finds its identity on the token', () => {
    const machine = fresh().start([
      { number: 4, keyId: '04', certificate: facts(4), hasKey: true },
      { number: 5, keyId: '05', certificate: facts(5), hasKey: true },
    ])
    expect(machine.state.active).toBe(4)
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 4 }])
    expect(machine.open).toHaveLength(1)
  })

  it('with the journal lost and the lower generation refused uses the higher one', () => {
    const machine = fresh().start([
      { number: 4, keyId: '04', certificate: facts(4), hasKey: true },
      { number: 5, keyId: '05', certificate: facts(5), hasKey: true },
    ])
    machine.fails('register', dpsRefuses)
    expect(machine.take('register').generation).toBe(5)
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
