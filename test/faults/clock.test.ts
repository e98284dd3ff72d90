import { describe, expect, it } from 'vitest'
import type { DrivenMachine } from '../support/machine.ts'
import {
  connected,
  dpsRefuses,
  fresh,
  network,
  proving,
  requesting,
  retiring,
  stagedAfterRefusal,
  storing,
  switching,
  unauthorized,
} from '../support/machine-stages.ts'

const hour = 3_600_000
const day = 24 * hour
const year = 365.25 * day

/** What a clock does while nobody looks, in milliseconds. */
const jumps: [what: string, jump: number][] = [
  ['an hour ahead', hour],
  ['an hour back', -hour],
  ['ten years ahead', 10 * year],
  ['ten years back', -10 * year],
  ['a week ahead, since the machine slept', 7 * day],
]

const registering = (): DrivenMachine =>
  connected().disconnected().wake().fails('connectHub', unauthorized).wake()

const stages: [stage: string, given: () => DrivenMachine][] = [
  ['generating its first key', () => fresh().start()],
  ['connected', connected],
  ['waiting for its hub', () => connected().disconnected()],
  ['waiting after a failure', () => connected().disconnected().wake().fails('connectHub', network)],
  ['connecting', () => connected().disconnected().wake()],
  ['debouncing', () => connected().disconnected().wake().fails('connectHub', unauthorized)],
  ['registering', registering],
  ['waiting to register', () => registering().fails('register', network)],
  ['refused', () => registering().fails('register', dpsRefuses)],
  [
    'registering beside its connection',
    () => connected().send({ kind: 'reprovisionRequested' }).fails('register', network),
  ],
  ['generating', () => connected().roll()],
  ['requesting', requesting],
  ['waiting for its issuer', () => requesting().fails('requestCertificate', network)],
  ['storing', storing],
  ['waiting for its token', () => storing().fails('storeCertificate', network)],
  ['staged', stagedAfterRefusal],
  ['proving', proving],
  ['switching', switching],
  ['in the overlap', retiring],
  ['destroying the old key', () => retiring().wake()],
  ['waiting to destroy it', () => retiring().wake().fails('destroyGeneration', network)],
]

/** Everything works from now on: completes what is open, and sleeps as the machine asks, until nothing is left to do. */
function settle(machine: DrivenMachine): { slept: number; steps: number } {
  let slept = 0
  for (let steps = 0; steps < 100; steps += 1) {
    const [effect] = machine.open
    if (effect === undefined) {
      if (machine.state.wakeAt === null) return { slept, steps }
      slept += Math.max(0, machine.state.wakeAt - machine.at)
      machine.at = Math.max(machine.at, machine.state.wakeAt)
      machine.send({ kind: 'woken' })
    } else complete(machine, effect)
  }
  throw new Error(`the machine does not settle: ${machine.phases}`)
}

function complete(machine: DrivenMachine, { kind }: DrivenMachine['open'][number]): DrivenMachine {
  switch (kind) {
    case 'generateKey':
      return machine.generated()
    case 'requestCertificate':
      return machine.issued()
    case 'storeCertificate':
      return machine.stored()
    case 'register':
      return machine.registered()
    case 'connectHub':
      return machine.hubConnected()
    case 'destroyGeneration':
      return machine.destroyed()
    default:
      throw new Error(`nothing comes of ${kind}`)
  }
}

describe.each(jumps)('a clock that is set %s', (_what, jump) => {
  it.each(stages)('while the device is %s delays nothing, and breaks nothing', (_stage, given) => {
    const undisturbed = given()
    const usual = settle(undisturbed)
    const machine = given()
    machine.at += jump
    machine.send({ kind: 'woken' })
    const { slept } = settle(machine)
    expect(slept).toBeLessThanOrEqual(usual.slept)
    expect(machine.phases).toBe('connected idle')
    expect(machine.state.active).toBe(undisturbed.state.active)
    expect(machine.state.generations).toEqual([
      expect.objectContaining({ number: machine.state.active, retireAt: null }),
    ])
  })

  it.each(stages)('and right again, while the device is %s, delays nothing either', (_stage, given) => {
    const usual = settle(given())
    const machine = given()
    for (const there of [jump, -jump]) {
      machine.at += there
      machine.send({ kind: 'woken' })
    }
    const { slept } = settle(machine)
    expect(slept).toBeLessThanOrEqual(usual.slept)
    expect(machine.phases).toBe('connected idle')
  })
})
