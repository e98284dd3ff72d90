import type { Effect } from '../../src/agent/effects.ts'
import type { Failure, FoundGeneration, Occurrence } from '../../src/agent/events.ts'
import { initialState, step } from '../../src/agent/machine.ts'
import { defaultPolicy } from '../../src/agent/policy.ts'
import type { AgentState, Assignment, CertificateFacts, Policy } from '../../src/agent/states.ts'

export const hubA: Assignment = { hub: 'hub-a.azure-devices.net', deviceId: 'gateway-7' }
export const hubB: Assignment = { hub: 'hub-b.azure-devices.net', deviceId: 'gateway-7' }
export const dpsPolicy: Policy = { ...defaultPolicy, dps: true }

export function facts(generation: number, commonName = 'gateway-7'): CertificateFacts {
  return { commonName, thumbprint: `T${generation}`, notBefore: 0, notAfter: 1e15 }
}

export function failure(
  code: Failure['code'],
  retryable = false,
  retryAfterMs: number | null = null,
): Failure {
  return { code, retryable, retryAfterMs }
}

type WithOperation = Extract<Effect, { operation: number }>

/** A machine that is driven by hand: every effect stays open until the test says what it ended in. */
export class DrivenMachine {
  state: AgentState
  at = 1_000_000
  entropy = 0.5
  /** Effects of the last step. */
  effects: readonly Effect[] = []
  readonly open: WithOperation[] = []

  constructor(policy: Policy = dpsPolicy) {
    this.state = initialState(policy, 'gateway-7')
  }

  send(occurrence: Occurrence): this {
    const before = this.state
    const result = step(before, { ...occurrence, at: this.at, entropy: this.entropy })
    this.state = result.state
    this.effects = result.effects
    for (const effect of result.effects)
      if ('operation' in effect && effect.kind !== 'closeConnection') this.open.push(effect)
    return this
  }

  start(found: readonly FoundGeneration[] = [], fixedAssignment: Assignment | null = null): this {
    this.open.length = 0
    return this.send({
      kind: 'started',
      policy: this.state.policy,
      commonName: 'gateway-7',
      found,
      fixedAssignment,
      bootstrap: { keyType: 'EC-P256', requestId: 'first' },
    })
  }

  /** Takes the oldest open effect of a kind. */
  take<Kind extends WithOperation['kind']>(kind: Kind): Extract<WithOperation, { kind: Kind }> {
    const index = this.open.findIndex((effect) => effect.kind === kind)
    const [effect] = index === -1 ? [] : this.open.splice(index, 1)
    if (effect === undefined)
      throw new Error(`no open ${kind}; open: ${this.open.map((e) => e.kind).join(', ')}`)
    return effect as Extract<WithOperation, { kind: Kind }>
  }

  generated(): this {
    const { operation, generation } = this.take('generateKey')
    return this.send({ kind: 'keyGenerated', operation, generation, keyId: `0${generation}` })
  }

  issued(commonName?: string): this {
    const { operation, generation } = this.take('requestCertificate')
    return this.send({
      kind: 'certificateIssued',
      operation,
      chain: `chain ${generation}`,
      certificate: facts(generation, commonName),
    })
  }

  stored(): this {
    return this.send({ kind: 'certificateStored', operation: this.take('storeCertificate').operation })
  }

  registered(assignment = hubA): this {
    return this.send({ kind: 'registered', operation: this.take('register').operation, assignment })
  }

  hubConnected(): this {
    return this.send({ kind: 'hubConnected', operation: this.take('connectHub').operation })
  }

  destroyed(): this {
    return this.send({ kind: 'generationDestroyed', operation: this.take('destroyGeneration').operation })
  }

  /** The oldest open effect of this kind succeeds. */
  succeeds(kind: WithOperation['kind']): this {
    const done = {
      generateKey: () => this.generated(),
      requestCertificate: () => this.issued(),
      storeCertificate: () => this.stored(),
      register: () => this.registered(),
      connectHub: () => this.hubConnected(),
      destroyGeneration: () => this.destroyed(),
      closeConnection: () => this,
    }
    return done[kind]()
  }

  fails(kind: WithOperation['kind'], why: Failure): this {
    return this.send({ kind: 'operationFailed', operation: this.take(kind).operation, failure: why })
  }

  disconnected(): this {
    const { connection } = this.state
    if (connection.phase !== 'connected') throw new Error(`not connected but ${connection.phase}`)
    return this.send({
      kind: 'hubDisconnected',
      operation: connection.operation,
      failure: failure('HUB_CONNECTION_LOST', true),
    })
  }

  /** Lets the clock run to the instant the machine has asked for. */
  wake(): this {
    if (this.state.wakeAt === null) throw new Error('the machine waits for nothing')
    this.at = this.state.wakeAt
    return this.send({ kind: 'woken' })
  }

  roll(mode: 'expiry' | 'breach' = 'expiry', requestId = `${mode}-roll`): this {
    return this.send({ kind: 'rollRequested', mode, keyType: 'EC-P256', requestId })
  }

  /** From nothing to connected with the first generation. */
  bootstrapped(): this {
    return this.start().generated().issued().stored().registered().hubConnected()
  }

  /** What a restart would find on the token. */
  found(): FoundGeneration[] {
    return this.state.generations.flatMap(({ number, keyId, certificate }) =>
      keyId === null ? [] : [{ number, keyId, certificate, hasKey: true }],
    )
  }

  get kinds(): string[] {
    return this.effects.map((effect) => effect.kind)
  }

  get phases(): string {
    return `${this.state.connection.phase} ${this.state.roll.phase}`
  }
}
