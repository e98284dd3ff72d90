import { ServiceError } from '../errors.ts'
import type { CloudEvents } from '../events.ts'
import { Next } from '../faults/next.ts'
import type { MqttService } from '../mqtt/session.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import { errorAnswer, type Answer } from './answer.ts'
import { assign, type AssignmentTools, type GroupAuthentication } from './assignment.ts'
import { attest } from './attestation.ts'
import { DpsDeviceFace, type Caller, type DropPoint } from './device-face.ts'
import type { EnrollmentGroup, IndividualEnrollment } from './enrollment.ts'
import { EntryStore } from './entry-store.ts'
import { Operations, type Operation } from './operations.ts'
import { Registrations, type RegistrationAttempt } from './registrations.ts'
import { registrationIdIn, type DeviceRequest } from './request.ts'
import type { SimulatedHub } from '../hub/hub.ts'

/** What a device of a disabled entry is told; which of the two Azure does is not known. */
export type DisabledEnrollment = 'unauthorized' | 'status-disabled'

/** An answer to give in place of the right one. */
export interface RefusedAnswer {
  /** As HTTP has them: 401, 429, 500 ... */
  readonly status: number
  readonly errorCode: number
  readonly message?: string
  /** Seconds. */
  readonly retryAfter?: number
}

/** What a simulated DPS is made of. */
export interface ProvisioningServiceOptions {
  readonly idScope: string
  readonly hubs: readonly SimulatedHub[]
  readonly groupAuthentication: GroupAuthentication
  readonly disabledEnrollment: DisabledEnrollment
  readonly retryAfterSeconds: number
  readonly events: CloudEvents
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/**
 * The Device Provisioning Service.
 *
 * @example
 * ```ts
 * cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { primary: old, secondary: new } })
 * const { outcome } = await cloud.waitFor('registration', (attempt) => attempt.registrationId === 'device-1')
 * ```
 */
export class SimulatedProvisioningService {
  readonly enrollments: EntryStore<IndividualEnrollment>
  readonly groups: EntryStore<EnrollmentGroup>
  readonly registrations = new Registrations()
  readonly #options: ProvisioningServiceOptions
  readonly #tools: AssignmentTools
  readonly #operations: Operations
  readonly #attempts: RegistrationAttempt[] = []
  readonly #refusals = new Next<RefusedAnswer>()
  readonly #drops = new Next<DropPoint>()
  readonly #face: DpsDeviceFace

  constructor(options: ProvisioningServiceOptions) {
    const { now, hubs, groupAuthentication } = options
    this.#options = options
    this.#tools = { hubs, groupAuthentication, now, registrations: this.registrations }
    this.#operations = new Operations(options.idScope)
    this.enrollments = new EntryStore({
      idOf: ({ registrationId }) => registrationId,
      check: () => undefined,
      takenElsewhere: (thumbprint) =>
        this.groups.find(({ thumbprints }) => thumbprints.has(thumbprint))?.stored.enrollmentGroupId,
      now,
    })
    this.groups = new EntryStore({
      idOf: ({ enrollmentGroupId }) => enrollmentGroupId,
      check: (certificate, what) => {
        if (!certificate.ca) {
          throw new Error(`${what}: expected the certificate of an authority, got "${certificate.subject}".`)
        }
      },
      takenElsewhere: (thumbprint) =>
        this.enrollments.find(({ thumbprints }) => thumbprints.has(thumbprint))?.stored.registrationId,
      now,
    })
    this.#face = new DpsDeviceFace((request, caller) => this.#respond(request, caller), this.#drops)
  }

  /** DPS as MQTT reaches it. */
  get mqtt(): MqttService {
    return this.#face
  }

  /** Every registration that was decided on, in order. Polls and faults do not count. */
  get attempts(): readonly RegistrationAttempt[] {
    return this.#attempts
  }

  /** How often a device was assigned to a hub. */
  registrationCount(registrationId: string): number {
    const id = registrationId.toLowerCase()
    return this.#attempts.filter(
      (one) => one.outcome === 'assigned' && one.registrationId.toLowerCase() === id,
    ).length
  }

  /** Gives the next requests (registrations and polls) this answer, without looking at them. */
  refuseNext(answer: RefusedAnswer, times = 1): void {
    this.#refusals.arm(answer, times)
  }

  /**
   * Drops the connection at the next occasions: when a device connects, when its request has come, or when the
   * work is done and the answer is due.
   */
  dropNext(times = 1, at: DropPoint = 'request'): void {
    this.#drops.arm(at, times)
  }

  /** Takes back all faults that have not come to pass. */
  stopFaults(): void {
    this.#refusals.disarm()
    this.#drops.disarm()
  }

  #respond(request: DeviceRequest, caller: Caller): Answer {
    const { now } = this.#options
    const fault = this.#refusals.take()
    if (fault !== undefined) {
      const { status, errorCode, message = 'A fault was asked for.', retryAfter } = fault
      return errorAnswer(new ServiceError(status, errorCode, message), now(), retryAfter)
    }
    try {
      return request.kind === 'register'
        ? this.#register(request.body, caller)
        : this.#poll(request.operationId, caller)
    } catch (error) {
      if (error instanceof ServiceError) return errorAnswer(error, now())
      throw error
    }
  }

  #register(body: Buffer, caller: Caller): Answer {
    const registrationId = registrationIdIn(body)
    try {
      this.#identify(registrationId, caller)
      const { presented } = caller
      const attested = attest(registrationId, presented, this, this.#options.now())
      switch (attested.kind) {
        case 'unauthorized':
          throw new Unauthorized(attested.message, attested.reason)
        case 'disabled':
          return this.#refuseDisabled(registrationId, caller, attested.reason)
        case 'individual':
        case 'group':
          break
      }
      if (presented.leaf === undefined) throw new Unauthorized('Unauthorized', 'No client certificate.')
      const state = assign(registrationId, presented.leaf, attested, this.#tools)
      const { assignedHub, substatus } = state
      this.#attempted(registrationId, caller, { outcome: 'assigned', assignedHub, substatus })
      const { operationId } = this.#operations.start(registrationId, thumbprint256(presented.leaf), state)
      return {
        status: 202,
        retryAfter: this.#options.retryAfterSeconds,
        body: {
          operationId,
          status: 'assigning',
          registrationState: { registrationId, status: 'assigning' },
        },
      }
    } catch (error) {
      if (!(error instanceof ServiceError)) throw error
      const reason = error instanceof Unauthorized ? error.reason : error.message
      this.#attempted(registrationId, caller, { outcome: error.errorCode, reason })
      throw error
    }
  }

  #poll(operationId: string, caller: Caller): Answer {
    const { registrationId } = caller.userName
    const operation = this.#operations.find(registrationId, operationId)
    if (operation === undefined) {
      throw new ServiceError(404, 404202, `There is no operation "${operationId}" for "${registrationId}".`)
    }
    const { leaf } = caller.presented
    if (leaf === undefined || thumbprint256(leaf) !== operation.thumbprint) {
      throw new Unauthorized('Unauthorized', 'The operation was begun with another certificate.')
    }
    return assignedAnswer(operation)
  }

  /** User name, client id and body must name the same device, and this service. */
  #identify(registrationId: string, { userName, clientId }: Caller): void {
    const { idScope } = this.#options
    if (userName.idScope.toLowerCase() !== idScope.toLowerCase()) {
      throw new Unauthorized('Unauthorized', `Expected the id scope "${idScope}", got "${userName.idScope}".`)
    }
    if (userName.apiVersion === undefined) {
      throw new ServiceError(400, 400000, 'Bad request: the user name has no api-version.')
    }
    const names = [userName.registrationId, clientId]
    const other = names.find((name) => name.toLowerCase() !== registrationId.toLowerCase())
    if (other !== undefined) {
      throw new Unauthorized(
        'Unauthorized',
        `The body is for "${registrationId}", the connection for "${other}".`,
      )
    }
  }

  #refuseDisabled(registrationId: string, caller: Caller, reason: string): Answer {
    if (this.#options.disabledEnrollment === 'unauthorized') throw new Unauthorized('Unauthorized', reason)
    this.#attempted(registrationId, caller, { outcome: 'disabled', reason })
    return {
      status: 200,
      body: { status: 'disabled', registrationState: { registrationId, status: 'disabled' } },
    }
  }

  #attempted(
    registrationId: string,
    { presented: { leaf } }: Caller,
    result: Pick<RegistrationAttempt, 'outcome' | 'reason' | 'assignedHub' | 'substatus'>,
  ): void {
    const thumbprint = leaf === undefined ? '' : thumbprint256(leaf)
    const attempt: RegistrationAttempt = { registrationId, thumbprint, at: this.#options.now(), ...result }
    this.#attempts.push(attempt)
    this.#options.events.emit('registration', attempt)
  }
}

/** 401002, with what the device is not told. */
class Unauthorized extends ServiceError {
  readonly reason: string

  constructor(message: string, reason: string) {
    super(401, 401002, message)
    this.reason = reason
  }
}

function assignedAnswer({ operationId, state }: Operation): Answer {
  // Devices see an empty x509 object; the group is for the service API.
  const { enrollmentGroupId: _group, ...registrationState } = state
  return {
    status: 200,
    body: { operationId, status: 'assigned', registrationState: { x509: {}, ...registrationState } },
  }
}
