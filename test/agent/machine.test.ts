import { describe, expect, it } from 'vitest'
import { dpsPolicy, type DrivenMachine, failure, hubA, hubB } from '../support/machine.ts'
import {
  unauthorized,
  dpsRefuses,
  network,
  fresh,
  connected,
  requesting,
  storing,
  proving,
  stagedAfterRefusal,
  switching,
  retiring,
} from '../support/machine-stages.ts'

describe('one step', () => {
  // Each row: from a state, one thing happens; where both regions are afterwards and what has to be done.
  const table: [
    name: string,
    given: () => DrivenMachine,
    when: (m: DrivenMachine) => unknown,
    phases: string,
    effects: string[],
  ][] = [
    ['an empty token starts a bootstrap', fresh, (m) => m.start(), 'offline generating', ['generateKey']],
    [
      'the key leads to a request',
      () => fresh().start(),
      (m) => m.generated(),
      'offline requesting',
      ['requestCertificate'],
    ],
    [
      'the chain is stored',
      () => fresh().start().generated(),
      (m) => m.issued(),
      'offline storing',
      ['storeCertificate'],
    ],
    [
      'the first generation goes to DPS',
      () => fresh().start().generated().issued(),
      (m) => m.stored(),
      'provisioning staged',
      ['register'],
    ],
    [
      'the assignment leads to the hub',
      () => fresh().start().generated().issued().stored(),
      (m) => m.registered(),
      'connecting staged',
      ['connectHub'],
    ],
    [
      'the hub completes the bootstrap',
      () => fresh().start().generated().issued().stored().registered(),
      (m) => m.hubConnected(),
      'connected idle',
      [],
    ],

    [
      'a roll generates a key while connected',
      connected,
      (m) => m.roll(),
      'connected generating',
      ['generateKey'],
    ],
    [
      'the request follows',
      () => connected().roll(),
      (m) => m.generated(),
      'connected requesting',
      ['requestCertificate'],
    ],
    [
      'a pending request waits',
      requesting,
      (m) =>
        m.send({
          kind: 'certificatePending',
          operation: m.take('requestCertificate').operation,
          ticket: 't',
          retryAfterMs: 1000,
        }),
      'connected requesting',
      ['wakeAt'],
    ],
    [
      'an issuer that is down is asked again',
      requesting,
      (m) => m.fails('requestCertificate', failure('ISSUER_UNAVAILABLE', true)),
      'connected requesting',
      ['wakeAt'],
    ],
    [
      'an issuer that refuses ends the roll',
      requesting,
      (m) => m.fails('requestCertificate', failure('ISSUER_REFUSED')),
      'connected failed',
      ['destroyGeneration'],
    ],
    [
      'a wrong certificate ends the roll',
      requesting,
      (m) => m.fails('requestCertificate', failure('CERT_KEY_MISMATCH')),
      'connected failed',
      ['destroyGeneration'],
    ],
    [
      'another common name ends the roll',
      requesting,
      (m) => m.issued('gateway-8'),
      'connected failed',
      ['destroyGeneration'],
    ],
    [
      'a full token ends the roll',
      storing,
      (m) => m.fails('storeCertificate', failure('HSM_TOKEN_FULL')),
      'connected failed',
      ['destroyGeneration'],
    ],
    [
      'a staged generation is proved beside the old connection',
      storing,
      (m) => m.stored(),
      'connected proving',
      ['register', 'prepareHub'],
    ],
    [
      'DPS refuses: it stays staged',
      proving,
      (m) => m.fails('register', dpsRefuses),
      'connected staged',
      ['wakeAt'],
    ],
    ['DPS accepts: the switch begins', proving, (m) => m.registered(), 'connected switching', ['connectHub']],
    [
      'the hub refuses the new one: the old connection stays',
      switching,
      (m) => m.fails('connectHub', unauthorized),
      'connected staged',
      ['wakeAt'],
    ],
    [
      'the hub accepts: the old connection is closed and the old key waits',
      switching,
      (m) => m.hubConnected(),
      'connected retiring',
      ['closeConnection', 'wakeAt'],
    ],
    [
      'the overlap ends: the old key is destroyed',
      retiring,
      (m) => m.wake(),
      'connected retiring',
      ['destroyGeneration', 'wakeAt'],
    ],
    ['the old key is gone: idle', () => retiring().wake(), (m) => m.destroyed(), 'connected idle', []],

    ['the connection is lost', connected, (m) => m.disconnected(), 'waiting idle', ['wakeAt']],
    [
      'it is opened again',
      () => connected().disconnected(),
      (m) => m.wake(),
      'connecting idle',
      ['connectHub', 'wakeAt'],
    ],
    [
      'a network failure never leads to DPS',
      () => connected().disconnected().wake(),
      (m) => m.fails('connectHub', network).wake(),
      'connecting idle',
      ['connectHub', 'wakeAt'],
    ],
    [
      'unauthorized leads to DPS, after a pause',
      () => connected().disconnected().wake(),
      (m) => m.fails('connectHub', unauthorized),
      'waiting idle',
      ['wakeAt'],
    ],
    [
      'and then registers',
      () => connected().disconnected().wake().fails('connectHub', unauthorized),
      (m) => m.wake(),
      'provisioning idle',
      ['register', 'wakeAt'],
    ],
    [
      'DPS refuses everything: refused, asks again slowly',
      () => connected().disconnected().wake().fails('connectHub', unauthorized).wake(),
      (m) => m.fails('register', dpsRefuses),
      'refused idle',
      ['wakeAt'],
    ],
    [
      'a refused device registers again later',
      () =>
        connected()
          .disconnected()
          .wake()
          .fails('connectHub', unauthorized)
          .wake()
          .fails('register', dpsRefuses),
      (m) => m.wake(),
      'provisioning idle',
      ['register', 'wakeAt'],
    ],
    [
      'DPS is down: the registration is repeated',
      () => connected().disconnected().wake().fails('connectHub', unauthorized).wake(),
      (m) => m.fails('register', network).wake(),
      'provisioning idle',
      ['register', 'wakeAt'],
    ],
    [
      'a locked token halts the agent',
      () => connected().disconnected().wake(),
      (m) => m.fails('connectHub', failure('HSM_PIN_LOCKED')),
      'halted idle',
      [],
    ],

    [
      'reprovisioning registers beside the connection',
      connected,
      (m) => m.send({ kind: 'reprovisionRequested' }),
      'connected idle',
      ['register'],
    ],
    [
      'the same hub: nothing more',
      () => connected().send({ kind: 'reprovisionRequested' }),
      (m) => m.registered(),
      'connected idle',
      [],
    ],
    [
      'another hub: connects there first',
      () => connected().send({ kind: 'reprovisionRequested' }),
      (m) => m.registered(hubB),
      'connected idle',
      ['connectHub'],
    ],
    [
      'and then leaves the old one',
      () => connected().send({ kind: 'reprovisionRequested' }).registered(hubB),
      (m) => m.hubConnected(),
      'connected idle',
      ['closeConnection'],
    ],
    [
      'reprovisioning proves a staged generation now',
      stagedAfterRefusal,
      (m) => m.send({ kind: 'reprovisionRequested' }),
      'connected proving',
      ['register', 'prepareHub', 'wakeAt'],
    ],

    [
      'stopping abandons everything',
      switching,
      (m) => m.send({ kind: 'stopRequested' }),
      'offline switching',
      ['abandonAll'],
    ],
  ]

  it.each(table)('%s', (_name, given, when, phases, effects) => {
    const machine = given()
    when(machine)
    expect(machine.phases).toBe(phases)
    expect(machine.kinds).toEqual(effects)
  })
})

describe('the pointer', () => {
  it('moves only when a hub has accepted the new generation', () => {
    const machine = switching()
    expect(machine.state.active).toBe(1)
    machine.fails('connectHub', unauthorized)
    expect(machine.state.active).toBe(1)
    machine.wake().registered().hubConnected()
    expect(machine.state.active).toBe(2)
  })

  it('goes back to the generation kept for the overlap when everything refuses the new one', () => {
    const machine = retiring().disconnected().wake().fails('connectHub', unauthorized).wake()
    machine.fails('register', dpsRefuses)
    expect(machine.take('register').generation).toBe(1)
    machine
      .send({ kind: 'registered', operation: machine.state.lastOperation, assignment: hubA })
      .hubConnected()
    expect(machine.state.active).toBe(1)
    expect(machine.phases).toBe('connected staged')
    expect(machine.state.generations.map((g) => g.retireAt)).toEqual([null, null])
  })

  it('lets the generation that everything refused go, when a breach roll is already making another', () => {
    const machine = retiring().disconnected().wake().fails('connectHub', unauthorized).wake()
    machine.fails('register', dpsRefuses).registered().roll('breach')
    machine.hubConnected()
    expect(machine.state.active).toBe(1)
    expect(machine.open).toContainEqual(expect.objectContaining({ kind: 'destroyGeneration', generation: 2 }))
  })

  it('reaches a staged generation when only that one is accepted', () => {
    const machine = stagedAfterRefusal().disconnected().wake().fails('connectHub', unauthorized).wake()
    machine.fails('register', dpsRefuses)
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 2 }])
    machine.registered().hubConnected()
    expect(machine.state.active).toBe(2)
    expect(machine.phases).toBe('connected retiring')
  })
})

describe('old keys', () => {
  it('stay for the overlap of an expiry roll', () => {
    const machine = switching()
    const switchedAt = machine.at
    machine.hubConnected()
    expect(machine.state.wakeAt).toBe(switchedAt + dpsPolicy.overlapMs)
    expect(machine.open).toEqual([])
  })

  it('go at once after a breach, and are never used again', () => {
    const machine = connected().roll('breach').generated().issued().stored().registered().hubConnected()
    expect(machine.open).toMatchObject([{ kind: 'destroyGeneration', generation: 1 }])
    machine.disconnected().wake().fails('connectHub', unauthorized).wake().fails('register', dpsRefuses)
    expect(machine.state.connection.phase).toBe('refused')
    expect(machine.open.filter((effect) => effect.kind !== 'destroyGeneration')).toEqual([])
  })

  it('are destroyed again when that failed', () => {
    const machine = retiring().wake().fails('destroyGeneration', failure('HSM_DEVICE_ERROR', true))
    machine.wake().destroyed()
    expect(machine.phases).toBe('connected idle')
    expect(machine.state.generations.map((g) => g.number)).toEqual([2])
  })

  it('leave before another expiry roll makes a key, so that there are never three', () => {
    const machine = retiring().roll()
    expect(machine.open).toMatchObject([{ kind: 'destroyGeneration', generation: 1 }])
    machine.destroyed()
    expect(machine.open).toMatchObject([{ kind: 'generateKey', generation: 3 }])
  })

  it('whose generation failed with an answer lost are destroyed too', () => {
    const machine = connected().roll().fails('generateKey', failure('HSM_TOKEN_FULL'))
    expect(machine.take('destroyGeneration').generation).toBe(2)
  })

  it('of a failed roll leave, and the next roll has a new number', () => {
    const machine = requesting().fails('requestCertificate', failure('ISSUER_REFUSED')).destroyed().roll()
    expect(machine.open).toMatchObject([{ kind: 'generateKey', generation: 3 }])
  })
})

describe('a breach overtakes an expiry roll', () => {
  it('while its key is generated: the late key is destroyed', () => {
    const machine = connected().roll().roll('breach')
    const late = machine.take('generateKey')
    expect(machine.open).toMatchObject([
      { kind: 'destroyGeneration', generation: 2 },
      { kind: 'generateKey', generation: 3 },
    ])
    machine.destroyed()
    machine.send({ kind: 'keyGenerated', operation: late.operation, generation: 2, keyId: '02' })
    expect(machine.take('destroyGeneration').generation).toBe(2)
    expect(machine.phases).toBe('connected generating')
  })

  it('while its certificate is on the way', () => {
    const machine = requesting().roll('breach')
    expect(machine.open.map((effect) => effect.kind)).toContain('destroyGeneration')
    expect(machine.state.roll).toMatchObject({ phase: 'generating', plan: { mode: 'breach', generation: 3 } })
  })

  it('while it switches: right after', () => {
    const machine = switching().roll('breach').hubConnected()
    expect(machine.state.active).toBe(2)
    expect(machine.state.roll).toMatchObject({ phase: 'generating', plan: { mode: 'breach', generation: 3 } })
  })

  it('while it is proved: also when DPS accepts', () => {
    const machine = proving().roll('breach').registered().hubConnected()
    expect(machine.state.active).toBe(2)
    expect(machine.state.roll).toMatchObject({ phase: 'generating', plan: { mode: 'breach', generation: 3 } })
  })

  it('also over a restart', () => {
    const machine = switching().roll('breach')
    machine.start(machine.found())
    expect(machine.state.roll).toMatchObject({ phase: 'generating', plan: { mode: 'breach' } })
  })

  it('while it is proved: also when that fails', () => {
    const machine = proving().roll('breach').fails('register', dpsRefuses)
    expect(machine.state.roll).toMatchObject({ phase: 'generating', plan: { mode: 'breach', generation: 3 } })
  })

  it('but another expiry roll does not', () => {
    const machine = requesting()
    const before = machine.state
    expect(machine.roll('expiry', 'again').state).toBe(before)
  })
})
