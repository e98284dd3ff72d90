import type { Effect } from '../../src/agent/effects.ts'
import type { Failure, Occurrence } from '../../src/agent/events.ts'
import type { CertificateFacts, Generation } from '../../src/agent/states.ts'
import { DrivenMachine, failure, hubA } from '../support/machine.ts'
import { seededRandom, VirtualTime } from '../support/virtual-time.ts'

const second = 1_000
const minute = 60 * second
export const hour = 60 * minute
export const day = 24 * hour
export const year = 365.25 * day

type OpenEffect = DrivenMachine['open'][number]
type Service = 'hub' | 'dps' | 'issuer'

/** How long a certificate lives; it is replaced every day. */
const lifetime = 7 * day

/**
 * One device through the years: the production machine with a token, an issuer, DPS and a hub around it that fail as
 * chance has it, a clock that somebody sets wrong and right again, and power that goes. Certificates really expire.
 *
 * Time passes as it does for an agent on the clock of the operating system: an alarm rings when the time until it has
 * passed, or up to a minute after the clock on the wall has passed it, whichever is first.
 */
export class LongLife {
  readonly time = new VirtualTime(Date.parse('2026-01-01T00:00:00Z'))
  readonly machine = new DrivenMachine()
  /** What is on the token. */
  readonly token = new Map<number, CertificateFacts | null>()
  steps = 0
  registrations = 0
  rolled = 0
  /** What the clock on the device's wall is ahead of the true time. */
  wrongBy = 0
  /** The true time for which the device was connected. */
  connectedMs = 0
  longestState = 0
  readonly #random: () => number
  /** Outages may overlap: how many there are of each. */
  readonly #down: Record<Service, number> = { hub: 0, dps: 0, issuer: 0 }
  /** The generation that the hub's record of the device names. */
  #record: number | null = null
  /** Counts the lives of the process; what was begun in an earlier one has no result. */
  #life = 0
  #powered = false
  #alarm: { readonly at: number; rung: boolean } | null = null
  #connectedSince: number | null = null

  constructor(seed: number) {
    this.#random = seededRandom(seed)
    this.powerOn()
  }

  get isConnected(): boolean {
    return this.machine.state.connection.phase === 'connected'
  }

  /** A number between two others, as chance has it. */
  between(least: number, most: number): number {
    return least + this.#random() * (most - least)
  }

  chance(oneIn: number): boolean {
    return this.#random() * oneIn < 1
  }

  roll(): void {
    if (!this.#powered) return
    this.#send({
      kind: 'rollRequested',
      mode: 'expiry',
      keyType: 'EC-P256',
      requestId: `day ${this.time.now}`,
    })
  }

  /** These services cannot be reached for a while. */
  outage(services: readonly Service[], ms: number): void {
    for (const service of services) this.#down[service] += 1
    if (services.includes('hub')) this.#disconnect()
    this.time.at(this.time.now + ms, () => {
      for (const service of services) this.#down[service] -= 1
    })
  }

  /** The hub loses its record of the device, and cuts it off. */
  loseRecord(): void {
    this.#record = null
    this.#disconnect()
  }

  /** Somebody sets the clock wrong, and right again after a while. */
  setClockWrong(by: number, ms: number): void {
    this.#setClock(this.wrongBy + by)
    this.time.at(this.time.now + ms, () => this.#setClock(this.wrongBy - by))
  }

  powerOff(ms: number): void {
    if (!this.#powered) return
    this.#powered = false
    this.#life += 1
    this.#alarm = null
    this.#noteConnected(false)
    this.time.at(this.time.now + ms, () => this.powerOn())
  }

  powerOn(): void {
    this.#powered = true
    this.machine.open.length = 0
    this.#send({
      kind: 'started',
      policy: this.machine.state.policy,
      commonName: 'gateway-7',
      found: [...this.token].map(([number, certificate]) => ({
        number,
        keyId: 'k',
        certificate,
        hasKey: true,
      })),
      fixedAssignment: null,
      bootstrap: { keyType: 'EC-P256', requestId: 'first' },
    })
  }

  /** What must hold in every state. */
  check(): void {
    const { state, open } = this.machine
    const { active, generations } = state
    const fail = (what: string): never => {
      throw new Error(
        `${what} on ${new Date(this.time.now).toISOString()}\n${JSON.stringify(state, null, 1)}`,
      )
    }
    if (active !== null && (this.token.get(active) ?? null) === null)
      fail('The active generation is not complete')
    if (this.token.size > 2) fail(`There are ${this.token.size} generations on the token`)
    if (generations.length > 2) fail(`The machine knows of ${generations.length} generations`)
    if (open.filter(({ kind }) => kind === 'register').length > 1) fail('Two registrations are under way')
    if (open.length > 4) fail(`${open.length} effects are under way`)
  }

  get #wall(): number {
    return Math.floor(this.time.now + this.wrongBy)
  }

  #send(occurrence: Occurrence): void {
    const { machine } = this
    const before = machine.state.active
    machine.at = this.#wall
    machine.entropy = this.#random()
    machine.send(occurrence)
    this.steps += 1
    if (machine.state.active !== before) this.rolled += 1
    if (this.steps % 100 === 0)
      this.longestState = Math.max(this.longestState, JSON.stringify(machine.state).length)
    this.#noteConnected(this.isConnected)
    this.check()
    for (const effect of machine.effects) this.#perform(effect)
  }

  #noteConnected(now: boolean): void {
    if (this.#connectedSince !== null) this.connectedMs += this.time.now - this.#connectedSince
    this.#connectedSince = now ? this.time.now : null
  }

  #disconnect(): void {
    const { connection } = this.machine.state
    if (!this.#powered || connection.phase !== 'connected') return
    const lost = failure('HUB_CONNECTION_LOST', true)
    this.#send({ kind: 'hubDisconnected', operation: connection.operation, failure: lost })
  }

  #setClock(wrongBy: number): void {
    this.wrongBy = wrongBy
    const alarm = this.#alarm
    if (alarm !== null && alarm.at <= this.#wall)
      this.time.at(this.time.now + this.between(0, minute), () => this.#ring(alarm))
  }

  #ring(alarm: { rung: boolean }): void {
    if (alarm.rung || alarm !== this.#alarm) return
    alarm.rung = true
    this.#send({ kind: 'woken' })
  }

  #perform(effect: Effect): void {
    if (effect.kind === 'wakeAt') {
      const alarm = effect.at === null ? null : { at: effect.at, rung: false }
      this.#alarm = alarm
      if (alarm !== null) this.time.at(this.time.now + alarm.at - this.#wall, () => this.#ring(alarm))
      return
    }
    if (!('operation' in effect) || effect.kind === 'closeConnection') return
    const life = this.#life
    this.time.at(this.time.now + this.between(10, 5 * second), () => {
      const index = this.machine.open.indexOf(effect)
      if (life !== this.#life || index < 0) return
      const result = this.#work(effect)
      this.machine.open.splice(index, 1)
      this.#send(result)
    })
  }

  #work(effect: OpenEffect): Occurrence {
    const { operation } = effect
    const fails = (why: Failure): Occurrence => ({ kind: 'operationFailed', operation, failure: why })
    switch (effect.kind) {
      case 'generateKey':
        if (!this.token.has(effect.generation)) this.token.set(effect.generation, null)
        return { kind: 'keyGenerated', operation, generation: effect.generation, keyId: 'k' }
      case 'requestCertificate':
        return this.#issue(effect.generation, operation)
      case 'storeCertificate': {
        const { roll } = this.machine.state
        if (roll.phase !== 'storing' || !this.token.has(effect.generation))
          return fails(failure('HSM_KEY_NOT_FOUND'))
        this.token.set(effect.generation, roll.certificate)
        return { kind: 'certificateStored', operation }
      }
      case 'destroyGeneration':
        this.token.delete(effect.generation)
        return { kind: 'generationDestroyed', operation }
      case 'register': {
        const trouble = this.#unreachable('dps')
        if (trouble !== undefined) return fails(trouble)
        this.registrations += 1
        if (!this.#isValid(effect.generation)) return fails(failure('DPS_UNAUTHORIZED'))
        this.#record = effect.generation
        // Now and then the answer is lost after the work was done.
        if (this.chance(50)) return fails(failure('NETWORK_TIMEOUT', true))
        return { kind: 'registered', operation, assignment: hubA }
      }
      case 'connectHub': {
        const trouble = this.#unreachable('hub')
        if (trouble !== undefined) return fails(trouble)
        const known = this.#record === effect.generation && this.#isValid(effect.generation)
        return known ? { kind: 'hubConnected', operation } : fails(failure('HUB_UNAUTHORIZED'))
      }
      default:
        throw new Error(`nothing comes of ${effect.kind}`)
    }
  }

  #unreachable(service: Service): Failure | undefined {
    if (this.#down[service] > 0) return failure('NETWORK_UNREACHABLE', true)
    // The certificates of servers are valid for about a year around the true time.
    return Math.abs(this.wrongBy) > year / 2 ? failure('TLS_SERVER_UNTRUSTED', true) : undefined
  }

  #isValid(generation: Generation['number']): boolean {
    const certificate = this.token.get(generation) ?? null
    return certificate !== null && certificate.notAfter > this.time.now
  }

  /** An issuer with the true time; the device checks what it gets by its own clock. */
  #issue(generation: number, operation: number): Occurrence {
    const notBefore = this.time.now - 5 * minute
    const notAfter = this.time.now + lifetime
    const wrong =
      this.#down.issuer > 0
        ? failure('ISSUER_UNAVAILABLE', true)
        : notBefore > this.#wall
          ? failure('CERT_NOT_YET_VALID', true)
          : notAfter <= this.#wall
            ? failure('CERT_EXPIRED')
            : undefined
    if (wrong !== undefined) return { kind: 'operationFailed', operation, failure: wrong }
    const certificate = { commonName: 'gateway-7', thumbprint: `T${generation}`, notBefore, notAfter }
    return { kind: 'certificateIssued', operation, chain: 'chain', certificate }
  }
}
