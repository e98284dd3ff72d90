import { describe, expect, it } from 'vitest'
import { dpsPolicy, DrivenMachine, failure, hubA } from '../support/machine.ts'
import {
  unauthorized,
  dpsRefuses,
  network,
  connected,
  requesting,
  stagedAfterRefusal,
  steady,
  storing,
  proving,
} from '../support/machine-stages.ts'

describe('a hub that cuts the session when DPS rewrites its record', () => {
  it('leaves the roll to connect with the new generation', () => {
    const machine = proving().disconnected()
    expect(machine.state.connection).toMatchObject({ phase: 'waiting', forRoll: true })
    machine.registered().hubConnected()
    expect(machine.phases).toBe('connected retiring')
  })

  it('goes back to the old generation when DPS refuses the new one', () => {
    const machine = proving().disconnected().fails('register', dpsRefuses)
    expect(machine.take('connectHub').generation).toBe(1)
  })

  it('does not wait for ever', () => {
    const machine = proving().disconnected()
    machine.wake()
    expect(machine.take('connectHub').generation).toBe(1)
  })
})

describe('one registration at a time', () => {
  it('a proof waits for a registration that is under way', () => {
    const machine = storing().send({ kind: 'reprovisionRequested' }).stored()
    expect(machine.open.filter((effect) => effect.kind === 'register')).toHaveLength(1)
    machine.registered()
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 2 }])
  })

  it('a request to reprovision during a proof is answered when the proof has failed', () => {
    const machine = proving().send({ kind: 'reprovisionRequested' }).fails('register', dpsRefuses)
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 2 }])
  })

  it('a request to reprovision during a proof adds none', () => {
    const machine = proving().send({ kind: 'reprovisionRequested' })
    expect(machine.open.filter((effect) => effect.kind === 'register')).toHaveLength(1)
  })
})

describe('waiting', () => {
  it('doubles, is spread, and never outlasts the cap', () => {
    const machine = steady()
    machine.disconnected().wake()
    machine.entropy = 0
    const delays: number[] = []
    for (let attempt = 0; attempt < 12; attempt += 1) {
      machine.fails('connectHub', network)
      delays.push((machine.state.wakeAt ?? 0) - machine.at)
      // Ask the hub only: the tenth failure asks DPS where the device belongs.
      machine.wake()
      if (machine.state.connection.phase === 'provisioning') machine.fails('register', network).wake()
    }
    expect(delays.slice(0, 4)).toEqual([500, 1_000, 2_000, 4_000])
    expect(Math.max(...delays)).toBe(150_000)
  })

  it('obeys Retry-After', () => {
    const machine = connected().disconnected().wake().fails('connectHub', unauthorized).wake()
    machine.fails('register', failure('DPS_THROTTLED', true, 90_000))
    expect((machine.state.wakeAt ?? 0) - machine.at).toBeGreaterThanOrEqual(90_000)
  })

  it('asks DPS where the device belongs when its hub cannot be reached for long', () => {
    const machine = steady().disconnected().wake()
    for (let attempt = 1; attempt <= 10; attempt += 1) machine.fails('connectHub', network).wake()
    expect(machine.open.map((effect) => effect.kind)).toEqual(['register'])
  })

  it('a hub that accepts and closes is met with growing patience', () => {
    const machine = connected()
    const delays: number[] = []
    for (let round = 0; round < 4; round += 1) {
      machine.disconnected()
      delays.push((machine.state.wakeAt ?? 0) - machine.at)
      machine.wake().hubConnected()
    }
    expect(delays).toEqual([...delays].sort((a, b) => a - b))
    expect(delays[3]).toBeGreaterThan(4 * (delays[0] ?? 0))
  })

  it('a connection that lasted forgets the failures before it', () => {
    const machine = connected()
    for (let round = 0; round < 5; round += 1) machine.disconnected().wake().hubConnected()
    machine.at += dpsPolicy.stableAfterMs
    machine.disconnected()
    expect((machine.state.wakeAt ?? 0) - machine.at).toBe(dpsPolicy.lost.baseMs * 0.5)
  })
})

describe('without DPS', () => {
  const alone = (): DrivenMachine =>
    new DrivenMachine({ ...dpsPolicy, dps: false })
      .start([], hubA)
      .generated()
      .issued()
      .stored()
      .hubConnected()

  it('the hub itself is the proof', () => {
    const machine = alone()
    expect(machine.phases).toBe('connected idle')
    machine.roll().generated().issued().stored()
    expect(machine.open).toMatchObject([{ kind: 'connectHub', generation: 2 }])
    machine.hubConnected()
    expect(machine.state.active).toBe(2)
  })

  it('a refusal leads to the staged generation, then to patience', () => {
    const machine = alone().roll().generated().issued().stored().fails('connectHub', unauthorized)
    expect(machine.phases).toBe('connected staged')
    machine.disconnected().wake().fails('connectHub', unauthorized)
    expect(machine.open).toMatchObject([{ kind: 'connectHub', generation: 2 }])
    machine.fails('connectHub', unauthorized)
    expect(machine.state.connection.phase).toBe('refused')
  })

  it('a request to reprovision tries the hub once, now', () => {
    const machine = alone().disconnected()
    machine.send({ kind: 'reprovisionRequested' })
    expect(machine.take('connectHub').generation).toBe(1)
    machine.send({ kind: 'operationFailed', operation: machine.state.lastOperation, failure: network })
    expect(machine.open).toEqual([])
    expect(machine.state.connection.phase).toBe('waiting')
  })

  it('a request to reprovision changes nothing while connected', () => {
    const machine = alone()
    machine.send({ kind: 'reprovisionRequested' })
    expect(machine.effects).toEqual([])
    expect(machine.phases).toBe('connected idle')
  })
})

describe('a device that everybody refuses', () => {
  it('shows a new certificate as soon as it has one', () => {
    const machine = refused().roll('breach').generated().issued().stored()
    machine.fails('register', dpsRefuses)
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 2 }])
    machine.registered().hubConnected()
    expect(machine.state.active).toBe(2)
  })
})

describe('a hub that refuses what DPS vouches for', () => {
  it('is shown the staged generation, and nothing else that it might have refused before', () => {
    const machine = requesting().disconnected().wake()
    const refusedAgain = (): void => {
      machine.fails('connectHub', unauthorized).wake().registered()
      expect(machine.open.find(({ kind }) => kind === 'connectHub')).toMatchObject({ generation: 1 })
    }
    refusedAgain()
    refusedAgain()
    machine.fails('connectHub', unauthorized).issued().stored().registered()
    machine.fails('connectHub', unauthorized)
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 2 }])
    machine.registered().hubConnected()
    expect(machine.phases).toBe('connected retiring')
    expect(machine.state.active).toBe(2)
  })

  it('has time to hear of what DPS has written before that', () => {
    const machine = stagedAfterRefusal()
    machine.at += machine.state.policy.stableAfterMs
    machine.disconnected().wake()
    machine.fails('connectHub', unauthorized).wake().registered()
    machine.fails('connectHub', unauthorized).wake()
    expect(machine.open).toMatchObject([{ kind: 'register', generation: 1 }])
  })
})

describe('a disk that refuses records', () => {
  it('holds back what a restart would have to know, and keeps the connection up', () => {
    const machine = connected().send({ kind: 'journalChecked', writable: false }).roll()
    expect(machine.open).toEqual([])
    machine.disconnected().wake()
    expect(machine.open).toMatchObject([{ kind: 'connectHub' }])
    machine.hubConnected().send({ kind: 'journalChecked', writable: true })
    expect(machine.open).toMatchObject([{ kind: 'generateKey' }])
  })
})

function refused(): DrivenMachine {
  return connected()
    .disconnected()
    .wake()
    .fails('connectHub', unauthorized)
    .wake()
    .fails('register', dpsRefuses)
}
