import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import type { Clock } from '../../src/agent/clock.ts'
import type { Effect } from '../../src/agent/effects.ts'
import type { FoundGeneration, Occurrence } from '../../src/agent/events.ts'
import { contentsOf, fileJournal, journalPath } from '../../src/agent/journal.ts'
import { Runner } from '../../src/agent/runner.ts'
import type { AgentState } from '../../src/agent/states.ts'
import { faultyDisk, type FaultyDisk } from '../support/faulty-disk.ts'
import { dpsPolicy, facts, hubA } from '../support/machine.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

/** A world in which every effect succeeds, with a journal on a disk that fails when it is told to. */
class Life {
  readonly token = new Map<number, boolean>()
  readonly performed: string[] = []
  readonly runner: Runner
  readonly #folder: string
  readonly #alarms: { at: number; wake: () => void }[] = []
  #now = 1_000_000

  constructor(folder: string, disk: FaultyDisk) {
    this.#folder = folder
    const clock: Clock = {
      now: () => this.#now,
      wakeAt: (at, wake) => {
        const alarm = { at, wake }
        this.#alarms.push(alarm)
        return () =>
          void this.#alarms.splice(0, this.#alarms.length, ...this.#alarms.filter((each) => each !== alarm))
      },
    }
    this.runner = new Runner(
      {
        journal: fileJournal(folder, { lock: () => Promise.resolve(() => Promise.resolve()), disk }),
        clock,
        random: () => 0.5,
        perform: (effect) => Promise.resolve(this.#perform(effect)),
        observe: () => undefined,
        journalFailed: () => undefined,
      },
      { ...dpsPolicy, overlapMs: 0 },
      'gateway-7',
    )
  }

  async start(): Promise<void> {
    await this.runner.restore()
    const found: FoundGeneration[] = [...this.token].map(([number, isWhole]) => ({
      number,
      keyId: `0${number}`,
      certificate: isWhole ? facts(number) : null,
      hasKey: true,
    }))
    await this.runner.dispatch({
      kind: 'started',
      policy: { ...dpsPolicy, overlapMs: 0 },
      commonName: 'gateway-7',
      found,
      fixedAssignment: null,
      bootstrap: { keyType: 'EC-P256', requestId: 'first' },
    })
  }

  /** Lets time pass until a condition holds, or until nothing more happens. */
  async until(holds: (state: AgentState) => boolean, wakes = 20): Promise<boolean> {
    for (let left = wakes; left > 0; left -= 1) {
      // Writing takes several turns of the event loop, for every step.
      for (let turn = 0; turn < 30; turn += 1) {
        if (holds(this.runner.state)) return true
        await this.runner.dispatch({ kind: 'woken' })
      }
      const [next] = this.#alarms.sort((one, other) => one.at - other.at).splice(0, 1)
      if (next === undefined) return false
      this.#now = Math.max(this.#now, next.at)
      next.wake()
    }
    return holds(this.runner.state)
  }

  get onDisk(): AgentState {
    const { state } = contentsOf('journal', readFileSync(journalPath(this.#folder)))
    if (state === null) throw new Error('there is no journal')
    return state
  }

  #perform(effect: Effect): Occurrence | null {
    this.performed.push(effect.kind)
    if (!('operation' in effect)) return null
    const { operation } = effect
    switch (effect.kind) {
      case 'generateKey':
        // Before anything is done to the token, what is going to be done is on the disk.
        expect(this.onDisk.roll).toMatchObject({ operation, plan: { generation: effect.generation } })
        expect(this.onDisk.generations.map((g) => g.number)).toContain(effect.generation)
        this.token.set(effect.generation, false)
        return {
          kind: 'keyGenerated',
          operation,
          generation: effect.generation,
          keyId: `0${effect.generation}`,
        }
      case 'requestCertificate':
        expect(this.onDisk.roll).toMatchObject({ operation, phase: 'requesting' })
        return { kind: 'certificateIssued', operation, chain: 'chain', certificate: facts(effect.generation) }
      case 'storeCertificate':
        expect(this.onDisk.roll).toMatchObject({ operation, phase: 'storing', chain: 'chain' })
        this.token.set(effect.generation, true)
        return { kind: 'certificateStored', operation }
      case 'destroyGeneration':
        expect(this.onDisk).toMatchObject({ destruction: { operation, generation: effect.generation } })
        expect(this.onDisk.active).not.toBe(effect.generation)
        this.token.delete(effect.generation)
        return { kind: 'generationDestroyed', operation }
      case 'register':
        return { kind: 'registered', operation, assignment: hubA }
      case 'connectHub':
        return { kind: 'hubConnected', operation }
      case 'closeConnection':
        return null
    }
  }
}

const isConnected = (state: AgentState): boolean => state.connection.phase === 'connected'
const isRolled = (state: AgentState): boolean =>
  state.active === 2 && state.roll.phase === 'idle' && state.generations.length === 1

async function connectedLife(disk: FaultyDisk): Promise<Life> {
  const life = new Life(await temporaryFolder(), disk)
  await life.start()
  expect(await life.until(isConnected)).toBe(true)
  return life
}

async function roll(life: Life): Promise<void> {
  await life.runner.dispatch({ kind: 'rollRequested', mode: 'expiry', keyType: 'EC-P256', requestId: 'r' })
}

/** How often the disk is asked for something in a roll. */
async function operationsOfARoll(): Promise<number> {
  const disk = faultyDisk()
  const life = await connectedLife(disk)
  disk.fail(Infinity, '')
  await roll(life)
  expect(await life.until(isRolled)).toBe(true)
  expect(life.onDisk).toEqual(life.runner.state)
  return disk.done.length
}

describe('a disk that begins to fail at any of its operations in a roll', () => {
  it('is asked often enough for that to say something', async () => {
    expect(await operationsOfARoll()).toBeGreaterThan(20)
  })

  it.each(['ENOSPC', 'EIO', 'EROFS', 'EDQUOT'])(
    'with %s keeps the device connected, and the roll ends when it works again',
    async (code) => {
      const operations = await operationsOfARoll()
      for (let number = 0; number < operations; number += 1) {
        const disk = faultyDisk()
        const life = await connectedLife(disk)
        disk.fail(number, code)
        await roll(life)
        await life.until(isRolled, 4)
        expect(life.runner.state, `operation ${number}`).toMatchObject({ connection: { phase: 'connected' } })
        disk.heal()
        expect(await life.until(isRolled), `operation ${number}`).toBe(true)
        expect(life.token).toEqual(new Map([[2, true]]))
        expect(life.onDisk).toEqual(life.runner.state)
      }
    },
  )

  it('and a process that ends then leave a device that the next one brings to the end of the roll', async () => {
    const operations = await operationsOfARoll()
    for (let number = 0; number < operations; number += 1) {
      const disk = faultyDisk()
      const folder = await temporaryFolder()
      const life = new Life(folder, disk)
      await life.start()
      expect(await life.until(isConnected)).toBe(true)
      disk.fail(number, 'EIO')
      await roll(life)
      await life.until(isRolled, 4)

      const next = new Life(folder, faultyDisk())
      for (const [generation, isWhole] of life.token) next.token.set(generation, isWhole)
      await next.start()
      expect(await next.until(isConnected), `operation ${number}`).toBe(true)
      await next.until((state) => state.roll.phase === 'idle')
      const { active } = next.runner.state
      expect(next.token, `operation ${number}`).toEqual(new Map([[active, true]]))
      // Whether the roll was asked for is all that a full disk may forget.
      expect([1, 2]).toContain(active)
    }
  })
})
