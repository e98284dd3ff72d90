import type { Effect } from '../../src/agent/effects.ts'
import type { Occurrence } from '../../src/agent/events.ts'
import { initialState, step } from '../../src/agent/machine.ts'
import type { AgentState, Policy } from '../../src/agent/states.ts'
import { facts, failure, hubA } from '../support/machine.ts'
import { seededRandom, VirtualTime } from '../support/virtual-time.ts'

type WithOperation = Extract<Effect, { operation: number }>

const minute = 60_000

/** A device of the fleet: the machine, and what the hub knows of it. */
interface Device {
  state: AgentState
  /** Whether the hub has a record of it. */
  known: boolean
  /** Counts alarms, so that one that was replaced does not ring. */
  alarm: number
}

/** What DPS does with a registration, besides counting it. */
export type DpsMood = 'serves' | 'fails'

/**
 * Devices of one DPS and one hub on a virtual clock: the production machine with nothing around it. DPS takes so many
 * registrations a minute, as Azure counts them, and asks those above that to come back when the minute is over.
 */
export class Fleet {
  readonly time = new VirtualTime(1_800_000_000_000)
  readonly devices: Device[]
  /** When each registration reached DPS. */
  readonly registrations: number[] = []
  /** How many of them were answered 429. */
  throttled = 0
  mood: DpsMood = 'serves'
  readonly #random: () => number
  readonly #quota: number
  #window = { minute: 0, count: 0 }

  constructor(size: number, policy: Policy, { quota = 1_000, seed = 1 } = {}) {
    this.#random = seededRandom(seed)
    this.#quota = quota
    this.devices = Array.from({ length: size }, () => ({
      state: initialState(policy, 'gateway-7'),
      known: true,
      alarm: 0,
    }))
    for (const device of this.devices) this.#start(device, policy)
    this.time.runUntil(this.time.now + 10 * minute)
    this.registrations.length = 0
  }

  /** How many are connected. */
  get connected(): number {
    return this.devices.filter(({ state }) => state.connection.phase === 'connected').length
  }

  /** The hub is gone with everything it knew: every connection ends at once, and none is accepted again as it is. */
  loseHub(): void {
    for (const device of this.devices) {
      device.known = false
      const { connection } = device.state
      if (connection.phase !== 'connected') throw new Error(`a device is ${connection.phase}`)
      const lost = failure('HUB_CONNECTION_LOST', true)
      this.#send(device, { kind: 'hubDisconnected', operation: connection.operation, failure: lost })
    }
  }

  /** The most registrations that reached DPS in any 60 seconds. */
  busiestMinute(): number {
    let [from, most] = [0, 0]
    for (const [index, at] of this.registrations.entries()) {
      while ((this.registrations[from] ?? 0) <= at - minute) from += 1
      most = Math.max(most, index - from + 1)
    }
    return most
  }

  /** Each has a generation that DPS and the hub know, as after a start of a device that was in use before. */
  #start(device: Device, policy: Policy): void {
    const at = this.time.now
    const certificate = {
      ...facts(1),
      notBefore: at - 30 * 24 * 60 * minute,
      notAfter: at + 365 * 24 * 60 * minute,
    }
    const found = [{ number: 1, keyId: '01', hasKey: true, certificate }]
    const common = { commonName: 'gateway-7', fixedAssignment: null, bootstrap: null }
    // Not all at once: this fleet came up over the years.
    this.time.at(at + this.#random() * 5 * minute, () =>
      this.#send(device, { kind: 'started', policy, found, ...common }),
    )
  }

  #send(device: Device, occurrence: Occurrence): void {
    const { state, effects } = step(device.state, {
      ...occurrence,
      at: Math.floor(this.time.now),
      entropy: this.#random(),
    })
    device.state = state
    for (const effect of effects) this.#perform(device, effect)
  }

  #perform(device: Device, effect: Effect): void {
    switch (effect.kind) {
      case 'wakeAt': {
        device.alarm += 1
        const { alarm } = device
        if (effect.at === null) return
        return this.time.at(effect.at, () => {
          if (device.alarm === alarm) this.#send(device, { kind: 'woken' })
        })
      }
      case 'connectHub':
        return this.#later(200, () => this.#answerHub(device, effect))
      case 'register':
        return this.#later(1_000, () => {
          const answer = this.#answerDps(device, effect)
          this.#later(2_000, () => this.#send(device, answer))
        })
      default:
        return
    }
  }

  /** Up to so much later. */
  #later(longestMs: number, happen: () => void): void {
    this.time.at(this.time.now + this.#random() * longestMs, happen)
  }

  #answerHub(device: Device, { operation }: WithOperation): void {
    if (device.known) return this.#send(device, { kind: 'hubConnected', operation })
    this.#send(device, { kind: 'operationFailed', operation, failure: failure('HUB_UNAUTHORIZED') })
  }

  #answerDps(device: Device, { operation }: WithOperation): Occurrence {
    const { now } = this.time
    this.registrations.push(now)
    const current = Math.floor(now / minute)
    this.#window = { minute: current, count: this.#window.minute === current ? this.#window.count + 1 : 1 }
    const fail = (...why: Parameters<typeof failure>): Occurrence => ({
      kind: 'operationFailed',
      operation,
      failure: failure(...why),
    })
    if (this.#window.count > this.#quota) {
      this.throttled += 1
      return fail('DPS_THROTTLED', true, (current + 1) * minute - now)
    }
    if (this.mood === 'fails') return fail('DPS_UNAVAILABLE', true)
    device.known = true
    return { kind: 'registered', operation, assignment: hubA }
  }
}
