import type { DeviceId, KeyId, Pem } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import type { RequestAdditions } from '../certificate/request.ts'
import type { KeyStore } from '../hsm/key-store.ts'
import type { Issuer } from '../issuer/issuer.ts'
import type { ProvisioningService, Registration } from '../provisioning/provisioning-service.ts'
import type { CertificateExchange } from './certificate-exchange.ts'
import type { Clock } from './clock.ts'
import type { Credentials } from './credentials.ts'
import type { Effect } from './effects.ts'
import type { Occurrence } from './events.ts'
import { asLeafkeeperError, durationOr, failureOf } from './failures.ts'
import { settledUnless } from './settled-unless.ts'
import { timeLimit } from './time-limit.ts'
import type { HubLink } from './hub-link.ts'
import type { AgentState } from './states.ts'

/** What performing effects needs from outside. */
export interface PerformerParts {
  readonly commonName: DeviceId
  readonly keyStore: KeyStore
  readonly credentials: Credentials
  readonly exchange: CertificateExchange
  readonly issuer: Issuer | undefined
  readonly provisioning: ProvisioningService | undefined
  readonly link: HubLink
  readonly clock: Clock
  readonly signal: AbortSignal
  readonly failed: (effect: Effect, error: LeafkeeperError) => void
  readonly registered: (generation: number, registration: Registration) => void
}

/** How long an issuer may take for one answer, in milliseconds; a slower one answers `pending`. */
const issuerTimeoutMs = 5 * 60_000

/** The longest ticket, in characters: it is written to the journal, more than once. */
const longestTicket = 4_096

/** When an issuer is asked again that did not say when, in milliseconds. */
const pendingRetryMs = 60_000

type EffectOf<Kind extends Effect['kind']> = Extract<Effect, { readonly kind: Kind }>

/** Performs effects on the real token, issuer, DPS and hub. Never rejects: a failure is an event too. */
export class Performer {
  readonly #parts: PerformerParts
  #tokenWork: Promise<unknown> = Promise.resolve()

  constructor(parts: PerformerParts) {
    this.#parts = parts
  }

  async perform(effect: Effect, state: AgentState): Promise<Occurrence | null> {
    try {
      return await this.#performOrThrow(effect, state)
    } catch (thrown) {
      const error = asLeafkeeperError(effect, thrown)
      if (!this.#parts.signal.aborted) this.#parts.failed(effect, error)
      return 'operation' in effect && effect.kind !== 'closeConnection'
        ? { kind: 'operationFailed', operation: effect.operation, failure: failureOf(error) }
        : null
    }
  }

  async #performOrThrow(effect: Effect, state: AgentState): Promise<Occurrence | null> {
    const { link, signal } = this.#parts
    switch (effect.kind) {
      case 'generateKey':
        return this.#inTurn(() => this.#generateKey(effect))
      case 'requestCertificate':
        return this.#requestCertificate(effect, state)
      case 'storeCertificate':
        return this.#inTurn(() => this.#storeCertificate(effect))
      case 'destroyGeneration':
        return this.#inTurn(() => this.#destroyGeneration(effect, state))
      case 'register':
        return this.#register(effect)
      case 'prepareHub':
        link.prepare(effect.generation, effect.assignment, signal)
        return null
      case 'connectHub':
        await settledUnless(
          signal,
          link.connect(effect.operation, effect.generation, effect.assignment, signal),
        )
        return { kind: 'hubConnected', operation: effect.operation }
      case 'closeConnection':
        await link.close(effect.operation)
        return null
      case 'abandonAll':
        await link.closeAll()
        return null
      case 'wakeAt':
        return null // the runner's own
    }
  }

  /** Changes to the token one after another, so that a destruction never meets a write to the same generation. */
  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const turn = this.#tokenWork.then(work)
    this.#tokenWork = turn.catch(() => undefined)
    return turn
  }

  async #generateKey(effect: EffectOf<'generateKey'>): Promise<Occurrence> {
    const { operation, generation } = effect
    const stored = await this.#parts.keyStore.generate(generation, effect.keyType)
    this.#parts.credentials.remember(stored)
    return { kind: 'keyGenerated', operation, generation, keyId: stored.keyId }
  }

  async #requestCertificate(effect: EffectOf<'requestCertificate'>, state: AgentState): Promise<Occurrence> {
    const { issuer, exchange, credentials, commonName, signal, clock } = this.#parts
    const { operation, ticket } = effect
    if (issuer === undefined)
      throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
        message: 'Expected an issuer for a new certificate; the agent was started without one.',
      })
    const csr = await exchange.request(effect.generation, effect.model)
    const present = effect.model === null ? {} : { credential: await credentials.credential(effect.model) }
    const limit = timeLimit(signal, clock, issuerTimeoutMs, () => noAnswerFrom(issuer))
    const { requestId, reason } = effect
    const hub = this.#parts.link.credentials
    const request = {
      csr,
      sign: (additions: RequestAdditions) => exchange.request(effect.generation, effect.model, additions),
      commonName,
      requestId,
      reason,
      signal: limit.signal,
      ...(hub === undefined ? {} : { hub }),
      ...present,
    }
    const asked = ticket === null ? issuer.submit(request) : issuer.resume(ticket, request)
    const answer = await settledUnless(limit.signal, asked).finally(limit.release)
    if (answer.kind === 'pending') {
      if (answer.ticket.length > longestTicket) throw ticketTooLong(issuer, answer.ticket)
      const retryAfterMs = durationOr(answer.retryAfterMs, pendingRetryMs)
      return { kind: 'certificatePending', operation, ticket: answer.ticket, retryAfterMs }
    }
    const issued = await exchange.check(answer.chain, effect.generation, state)
    return { kind: 'certificateIssued', operation, ...issued }
  }

  async #storeCertificate(effect: EffectOf<'storeCertificate'>): Promise<Occurrence> {
    const { keyStore, credentials } = this.#parts
    const stored = await credentials.stored(effect.generation)
    const chain = effect.chain as Pem
    await keyStore.storeCertificate(stored.keyId, chain)
    credentials.remember({ ...stored, chain })
    return { kind: 'certificateStored', operation: effect.operation }
  }

  async #destroyGeneration(effect: EffectOf<'destroyGeneration'>, state: AgentState): Promise<Occurrence> {
    const { keyStore, credentials } = this.#parts
    const known = state.generations.find((g) => g.number === effect.generation)?.keyId
    const found = known ?? (await credentials.refresh()).find((g) => g.number === effect.generation)?.keyId
    if (found !== undefined) await keyStore.destroy(found as KeyId)
    credentials.forget(effect.generation)
    return { kind: 'generationDestroyed', operation: effect.operation }
  }

  async #register(effect: EffectOf<'register'>): Promise<Occurrence> {
    const { provisioning, credentials, signal, registered } = this.#parts
    if (provisioning === undefined)
      throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
        message: 'Expected a provisioning service to register with; the agent was started without one.',
      })
    const registration = await provisioning.register(await credentials.credential(effect.generation), signal)
    registered(effect.generation, registration)
    const assignment = { hub: registration.assignedHub, deviceId: registration.deviceId }
    return { kind: 'registered', operation: effect.operation, assignment }
  }
}

function noAnswerFrom({ name }: Issuer): LeafkeeperError {
  return new LeafkeeperError('ISSUER_UNAVAILABLE', {
    message: `The issuer "${name}" has not answered for ${issuerTimeoutMs / 60_000} minutes.`,
  })
}

function ticketTooLong({ name }: Issuer, ticket: string): LeafkeeperError {
  return new LeafkeeperError('ISSUER_UNAVAILABLE', {
    message: `The issuer "${name}" answered with a ticket of ${ticket.length} characters; expected at most ${longestTicket}.`,
  })
}
