import { describe, expect, it } from 'vitest'
import type { Effect } from '../../src/agent/effects.ts'
import { failure, hubB, type DrivenMachine } from '../support/machine.ts'
import {
  connected,
  fresh,
  proving,
  requesting,
  retiring,
  stagedAfterRefusal,
  storing,
  switching,
  unauthorized,
} from '../support/machine-stages.ts'

type WithResult = Extract<Effect, { operation: number }>['kind']

const refused = failure('HSM_PIN_INCORRECT')

/** The agent at a stage, and the effect for which the token refuses the PIN. */
const stages: [string, () => DrivenMachine, WithResult][] = [
  ['the first key is made', () => fresh().start(), 'generateKey'],
  ['the key of a roll is made', () => connected().roll(), 'generateKey'],
  ['a request is signed', requesting, 'requestCertificate'],
  ['a certificate is stored', storing, 'storeCertificate'],
  ['a generation is proved', proving, 'register'],
  ['the device switches', switching, 'connectHub'],
  ['an old generation is destroyed', () => retiring().wake(), 'destroyGeneration'],
  ['a breach waits for the proof', () => proving().roll('breach'), 'register'],
  ['the device registers again', () => connected().send({ kind: 'reprovisionRequested' }), 'register'],
  [
    'the device moves to another hub',
    () => connected().send({ kind: 'reprovisionRequested' }).registered(hubB),
    'connectHub',
  ],
  ['the device connects again', () => connected().disconnected().wake(), 'connectHub'],
]

describe('a PIN that the token refused is not tried again', () => {
  it.each(stages)('where %s', (_what, given, kind) => {
    const machine = given().fails(kind, refused)
    expect(machine.state.tokenShut).toBe('HSM_PIN_INCORRECT')
    const left = machine.open.length
    machine.roll('breach').send({ kind: 'reprovisionRequested' })
    if (machine.state.connection.phase === 'connected') machine.disconnected()
    machine.at += 1e12
    machine.send({ kind: 'woken' })
    // Every effect with a result uses a key, and each may have to log in.
    expect(machine.open).toHaveLength(left)
    expect(machine.state.connection).toEqual({ phase: 'halted', code: 'HSM_PIN_INCORRECT' })
  })

  it.each<[string, () => DrivenMachine, WithResult]>([
    [
      'the registration of a device without a connection',
      () => connected().roll().disconnected().wake().fails('connectHub', unauthorized).wake(),
      'generateKey',
    ],
    [
      'the registration beside a connection',
      () => connected().send({ kind: 'reprovisionRequested' }).roll(),
      'generateKey',
    ],
    ['the proof', () => retiring().roll('breach').generated().issued().stored(), 'destroyGeneration'],
  ])('by what follows %s that was under way', (_what, given, kind) => {
    const machine = given().fails(kind, refused).registered(hubB)
    expect(machine.open).toEqual([])
  })

  it.each<[string, () => DrivenMachine]>([
    ['another generation is tried', () => stagedAfterRefusal().disconnected().wake()],
    ['the old hub is left', () => connected().send({ kind: 'reprovisionRequested' }).registered(hubB)],
  ])('where otherwise %s', (_what, given) => {
    const machine = given().roll('breach').fails('generateKey', refused)
    const left = machine.open.length - 1
    machine.fails('connectHub', failure('TLS_KEY_UNUSABLE'))
    expect(machine.open).toHaveLength(left)
  })

  it('nor is an engine that has lost the token', () => {
    const machine = connected().disconnected().wake().fails('connectHub', failure('TLS_RESTART_NEEDED'))
    expect(machine.state.connection).toEqual({ phase: 'halted', code: 'TLS_RESTART_NEEDED' })
    expect(machine.send({ kind: 'reprovisionRequested' }).open).toEqual([])
  })

  it('and a connection that is up stays up', () => {
    const machine = connected().roll().fails('generateKey', refused)
    expect(machine.state.connection.phase).toBe('connected')
    expect(machine.state.roll).toMatchObject({ phase: 'failed', code: 'HSM_PIN_INCORRECT' })
  })

  it('until the next start', () => {
    const machine = stagedAfterRefusal().roll('breach').fails('generateKey', refused)
    machine.start(machine.found())
    expect(machine.state.tokenShut).toBeNull()
    expect(machine.open.map(({ kind }) => kind)).toContain('connectHub')
  })
})
