import type { Effect } from '../../src/agent/effects.ts'
import type { Occurrence } from '../../src/agent/events.ts'
import type { AgentState, Assignment } from '../../src/agent/states.ts'
import { dpsPolicy, DrivenMachine, facts, failure, hubA, hubB } from '../support/machine.ts'

type OpenEffect = DrivenMachine['open'][number]

/** One thing that can happen in the world; numbers choose among what is possible. */
export type Move =
  | { readonly kind: 'complete'; readonly pick: number }
  | { readonly kind: 'fail'; readonly pick: number; readonly how: number }
  /** The work is done, the answer is lost: the effect fails with a network error. */
  | { readonly kind: 'loseAnswer'; readonly pick: number }
  | { readonly kind: 'wake' }
  | { readonly kind: 'drop' }
  | { readonly kind: 'roll' }
  | { readonly kind: 'breach' }
  | { readonly kind: 'reprovision' }
  | { readonly kind: 'crash' }
  /** The owner puts the newest generation into the enrollment. */
  | { readonly kind: 'enrollNewest' }
  /** The owner takes everything but the newest generation out of the enrollment. */
  | { readonly kind: 'withdrawOld' }
  /** The hub loses its record of the device. */
  | { readonly kind: 'deleteRecord' }
  /** An older journal is put back: a backup, a restored image. */
  | { readonly kind: 'oldJournal' }
  /** DPS will assign the other hub. */
  | { readonly kind: 'moveHub' }
  | { readonly kind: 'stop' }

/**
 * A model of token, issuer, DPS and hub around the production `step`. It keeps its own record of what was really
 * done, so that what the machine believes can be held against it.
 */
export class Environment {
  readonly machine: DrivenMachine
  /** What is on the token: generation number to whether it has a certificate. */
  readonly token = new Map<number, boolean>()
  /** Generations that DPS accepts. */
  readonly enrolled = new Set<number>()
  /** Generations that a hub has accepted at some time. */
  readonly everAccepted = new Set<number>()
  /** Keys that may be known to others, once a breach roll has been completed. */
  readonly burnt = new Set<number>()
  assigned = hubA
  /** The generation the hub's record names. */
  record: number | null = null
  readonly story: string[] = []

  /** The state of some earlier moment. */
  #backup: AgentState
  readonly #fixedHub: Assignment | null
  /** A breach roll that was asked for and has not begun. */
  #breachOwed = false

  /** @param dps Without DPS the hub takes whatever is enrolled, as one that authenticates by authority does. */
  constructor(dps = true) {
    this.machine = new DrivenMachine({ ...dpsPolicy, dps })
    this.#fixedHub = dps ? null : hubA
    this.machine.start([], this.#fixedHub)
    this.#backup = this.machine.state
  }

  apply(move: Move): void {
    const { machine } = this
    switch (move.kind) {
      case 'complete':
        return this.#withOpen(move.pick, (effect) => this.#finish(effect))
      case 'fail':
        return this.#withOpen(move.pick, (effect) => this.#fail(effect, move.how))
      case 'loseAnswer':
        return this.#withOpen(move.pick, (effect) => {
          this.#work(effect)
          this.#tell({
            kind: 'operationFailed',
            operation: effect.operation,
            failure: failure('NETWORK_TIMEOUT', true),
          })
        })
      case 'wake':
        if (machine.state.wakeAt === null) return
        this.story.push('wake')
        machine.wake()
        return this.check()
      case 'drop':
        if (machine.state.connection.phase !== 'connected') return
        this.story.push('drop')
        machine.disconnected()
        return this.check()
      case 'roll':
        return this.#tell({ kind: 'rollRequested', mode: 'expiry', keyType: 'EC-P256', requestId: 'expiry' })
      case 'breach':
        return this.#tell({ kind: 'rollRequested', mode: 'breach', keyType: 'EC-P256', requestId: 'breach' })
      case 'reprovision':
        return this.#tell({ kind: 'reprovisionRequested' })
      case 'crash':
        return this.#restart('crash')
      case 'oldJournal': {
        const older = this.#backup
        this.#backup = this.machine.state
        this.machine.state = older
        this.#breachOwed = false
        // What the older journal does not know to be compromised, nobody on the device knows: then DPS decides.
        this.burnt.clear()
        for (const { number, compromised } of older.generations) if (compromised) this.burnt.add(number)
        return this.#restart('an older journal is put back')
      }
      case 'stop':
        this.#tell({ kind: 'stopRequested' })
        return this.#restart('start again')
      case 'enrollNewest':
        this.story.push('enroll newest')
        if (this.token.size > 0) this.enrolled.add(Math.max(...this.token.keys()))
        return
      case 'withdrawOld':
        this.story.push('withdraw old')
        for (const number of this.enrolled)
          if (number !== Math.max(...this.token.keys())) this.enrolled.delete(number)
        return
      case 'deleteRecord':
        this.story.push('delete record')
        this.record = null
        return
      case 'moveHub':
        this.story.push('move hub')
        this.assigned = this.assigned === hubA ? hubB : hubA
        return
    }
  }

  /** The faults stop: everything that is complete is enrolled, every effect succeeds, time passes. */
  settle(): void {
    for (let rounds = 0; rounds < 300; rounds += 1) {
      for (const [number, complete] of this.token)
        if (complete && !this.burnt.has(number)) this.enrolled.add(number)
      const { state, open } = this.machine
      if (state.connection.phase === 'connected' && state.roll.phase === 'idle' && open.length === 0) return
      if (open.length > 0) this.apply({ kind: 'complete', pick: 0 })
      else if (state.wakeAt !== null) this.apply({ kind: 'wake' })
      else if (state.connection.phase === 'connected') return
      else this.#violated(`the machine waits for nothing while ${state.connection.phase}`)
    }
    this.#violated('I5: the agent never settles')
  }

  /** The invariants of the design that can be seen in one state. */
  check(): void {
    const { state } = this.machine
    const { active, generations, roll } = state
    if (active !== null) {
      if (this.token.get(active) !== true)
        this.#violated(`I1: active generation ${active} is not complete on the token`)
      if (!this.everAccepted.has(active))
        this.#violated(`I2: active generation ${active} was never accepted by a hub`)
      if (this.burnt.has(active)) this.#violated(`I7: burnt generation ${active} is active`)
    }
    const most = 'plan' in roll && roll.plan.mode === 'breach' ? 3 : this.#overtaken ? 3 : 2
    if (this.token.size > most) this.#violated(`I3: ${this.token.size} generations on the token`)
    for (const { certificate, number } of generations)
      if (certificate !== null && certificate.commonName !== 'gateway-7')
        this.#violated(`I4: name of ${number}`)
    const registrations = this.machine.open.filter((effect) => effect.kind === 'register')
    if (registrations.length > 1) this.#violated('more than one registration in flight')
  }

  /** A breach was asked for in this life, so that its leftovers may still be on the token. */
  #overtaken = false

  #tell(occurrence: Occurrence): void {
    if (occurrence.kind === 'rollRequested' && occurrence.mode === 'breach') {
      this.#overtaken = true
      this.#breachOwed = this.machine.state.running && this.machine.state.active !== null
    }
    this.story.push(
      'operation' in occurrence ? `${occurrence.kind} #${occurrence.operation}` : occurrence.kind,
    )
    const before = this.machine.state
    this.machine.send(occurrence)
    const { state, effects } = this.machine
    if (state.active !== before.active && 'plan' in before.roll && before.roll.plan.mode === 'breach')
      if (before.roll.plan.generation === state.active)
        for (const number of this.token.keys()) if (number !== state.active) this.burnt.add(number)
    for (const effect of effects) this.#checkEffect(effect)
    this.#checkBreach()
    this.check()
  }

  /** A breach roll that was asked for begins, or is remembered until it can. */
  #checkBreach(): void {
    const { roll } = this.machine.state
    if (!this.#breachOwed || roll.phase === 'idle') {
      if (this.#breachOwed) this.#violated('a breach roll that was asked for was forgotten')
      return
    }
    if (roll.plan.mode === 'breach') this.#breachOwed = false
    else {
      const waiting = 'next' in roll ? roll.next : 'overtakenBy' in roll ? roll.overtakenBy : null
      // A roll that already waits its turn goes first; the one asked for later is then refused.
      if (waiting === null) this.#violated('a breach roll that was asked for was forgotten')
    }
  }

  #checkEffect(effect: Effect): void {
    if ((effect.kind === 'register' || effect.kind === 'connectHub') && this.burnt.has(effect.generation))
      this.#violated(`I7: ${effect.kind} with burnt generation ${effect.generation}`)
    if (effect.kind !== 'destroyGeneration') return
    const { active } = this.machine.state
    if (effect.generation === active) this.#violated(`I1: the active generation ${active} is destroyed`)
  }

  #withOpen(pick: number, act: (effect: OpenEffect) => void): void {
    const { open } = this.machine
    if (open.length === 0) return
    const [effect] = open.splice(pick % open.length, 1)
    if (effect !== undefined) act(effect)
  }

  /** Does what the effect says, as the world would. */
  #work(effect: OpenEffect): void {
    switch (effect.kind) {
      case 'generateKey':
        if (!this.token.has(effect.generation)) this.token.set(effect.generation, false)
        return
      case 'storeCertificate':
        if (this.token.has(effect.generation)) this.token.set(effect.generation, true)
        return
      case 'destroyGeneration':
        this.token.delete(effect.generation)
        return
      case 'register':
        if (this.enrolled.has(effect.generation)) this.record = effect.generation
        return
      case 'connectHub':
        if (this.#accepts(effect.generation)) this.everAccepted.add(effect.generation)
        return
      default:
        return
    }
  }

  #finish(effect: OpenEffect): void {
    this.#work(effect)
    const { operation } = effect
    const refuse = (code: 'DPS_UNAUTHORIZED' | 'HUB_UNAUTHORIZED'): void =>
      this.#tell({ kind: 'operationFailed', operation, failure: failure(code) })
    switch (effect.kind) {
      case 'generateKey':
        return this.#tell({ kind: 'keyGenerated', operation, generation: effect.generation, keyId: 'k' })
      case 'requestCertificate':
        return this.#tell({
          kind: 'certificateIssued',
          operation,
          chain: 'c',
          certificate: facts(effect.generation),
        })
      case 'storeCertificate':
        if (!this.token.has(effect.generation))
          return this.#tell({ kind: 'operationFailed', operation, failure: failure('HSM_KEY_NOT_FOUND') })
        return this.#tell({ kind: 'certificateStored', operation })
      case 'destroyGeneration':
        return this.#tell({ kind: 'generationDestroyed', operation })
      case 'register':
        if (!this.enrolled.has(effect.generation)) return refuse('DPS_UNAUTHORIZED')
        return this.#tell({ kind: 'registered', operation, assignment: this.assigned })
      case 'connectHub':
        if (!this.#accepts(effect.generation)) return refuse('HUB_UNAUTHORIZED')
        return this.#tell({ kind: 'hubConnected', operation })
      default:
        return
    }
  }

  #accepts(generation: number): boolean {
    return this.machine.state.policy.dps ? this.record === generation : this.enrolled.has(generation)
  }

  #fail(effect: OpenEffect, how: number): void {
    const kinds = {
      generateKey: [failure('HSM_DEVICE_ERROR', true), failure('HSM_TOKEN_FULL')],
      requestCertificate: [
        failure('ISSUER_UNAVAILABLE', true),
        failure('ISSUER_REFUSED'),
        failure('CERT_KEY_MISMATCH'),
      ],
      storeCertificate: [failure('HSM_DEVICE_ERROR', true), failure('HSM_TOKEN_FULL')],
      destroyGeneration: [failure('HSM_DEVICE_ERROR', true)],
      register: [
        failure('NETWORK_UNREACHABLE', true),
        failure('DPS_THROTTLED', true, 5000),
        failure('DPS_UNAUTHORIZED'),
      ],
      connectHub: [
        failure('NETWORK_UNREACHABLE', true),
        failure('HUB_UNAUTHORIZED'),
        failure('TLS_KEY_UNUSABLE'),
      ],
    }
    if (effect.kind === 'closeConnection') return
    const choices = kinds[effect.kind]
    const chosen = choices[how % choices.length]
    if (chosen !== undefined)
      this.#tell({ kind: 'operationFailed', operation: effect.operation, failure: chosen })
  }

  /** Power is lost: what was under way may be done or not, and nobody hears of it. */
  #restart(why: string): void {
    this.story.push(why)
    for (const [index, effect] of this.machine.open.entries()) if (index % 2 === 0) this.#work(effect)
    const found = [...this.token].map(([number, complete]) => ({
      number,
      keyId: 'k',
      certificate: complete ? facts(number) : null,
      hasKey: true,
    }))
    this.machine.start(found, this.#fixedHub)
    this.check()
  }

  #violated(what: string): never {
    const { state } = this.machine
    throw new Error(`${what}\n  ${this.story.join('\n  ')}\n${JSON.stringify(state, null, 1)}`)
  }
}
