import { RequestRefused } from '../adr/certificate-request.ts'
import { derOf, type IssuedCredential } from '../adr/credential-policies.ts'
import { ServiceError } from '../errors.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import { errorAnswer, type Answer } from './answer.ts'
import { deviceApiVersions } from './api-versions.ts'
import { assign, type Attested, type AssignmentTools, type Choice } from './assignment.ts'
import { attest, type Entries } from './attestation.ts'
import { askWebhook } from './custom-allocation.ts'
import type { Caller } from './device-face.ts'
import { assigningAnswer, outcomeAnswer, stateBody } from './outcome-answer.ts'
import { Operations, type Outcome } from './operations.ts'
import type { RegistrationAttempt } from './registrations.ts'
import { readRegistration, type DeviceRequest, type RegistrationBody } from './request.ts'
import type { TpmChallenges } from './tpm/challenges.ts'

/** What a device of a disabled entry is told; which of the two Azure does is not known. */
export type DisabledEnrollment = 'unauthorized' | 'status-disabled'

/** What a registration is decided with. */
export interface DeskTools {
  readonly idScope: string
  readonly entries: Entries
  readonly assignment: AssignmentTools
  readonly challenges: TpmChallenges
  /** Signs a request for a certificate by a credential policy. @throws RequestRefused */
  readonly issue: (policyName: string, csr: string, registrationId: string) => Promise<IssuedCredential>
  readonly disabledEnrollment: DisabledEnrollment
  readonly retryAfterSeconds: number
  readonly now: () => number
  /** Told of everything that was decided. */
  readonly attempted: (attempt: RegistrationAttempt) => void
}

type Result = Pick<RegistrationAttempt, 'outcome' | 'reason' | 'assignedHub' | 'substatus'>

/** Takes the requests of devices, whatever they came by, and decides on them. */
export class RegistrationDesk {
  readonly #tools: DeskTools
  readonly #operations: Operations

  constructor(tools: DeskTools) {
    this.#tools = tools
    this.#operations = new Operations(tools.idScope)
  }

  /** Answers; every refusal is an answer too. */
  answer(request: DeviceRequest, caller: Caller): Answer {
    try {
      switch (request.kind) {
        case 'register':
          return this.#register(request.body, caller)
        case 'poll':
          return this.#poll(request.operationId, caller)
        case 'lookup':
          return this.#lookUp(request.body, caller)
      }
    } catch (error) {
      if (error instanceof ServiceError) return errorAnswer(error, this.#tools.now(), error.retryAfter)
      throw error
    }
  }

  #register(content: Buffer, caller: Caller): Answer {
    const body = readRegistration(content, caller.userName.apiVersion)
    const { registrationId, csr } = body
    try {
      this.#identify(registrationId, caller)
      const attested = this.#attest(body, caller)
      if (attested.kind === 'disabled') return this.#refuseDisabled(registrationId, caller, attested.reason)
      if (attested.kind === 'challenge') return this.#challenge(body)
      const leaf = attested.proof.by === 'x509' ? thumbprint256(attested.proof.leaf) : undefined
      const policyName = this.#policyFor(csr, attested)
      const { allocationPolicy } = attested.entry.stored
      if (allocationPolicy !== 'custom' && policyName === undefined) {
        const outcome = this.#settle(body, attested, caller, undefined, undefined)
        const operation = this.#operations.start(registrationId, leaf)
        operation.outcome = outcome
        return assigningAnswer(operation, this.#tools.retryAfterSeconds)
      }
      const operation = this.#operations.start(registrationId, leaf)
      void this.#work(body, attested, caller, policyName).then((outcome) => {
        operation.outcome = outcome
      })
      return assigningAnswer(operation, this.#tools.retryAfterSeconds)
    } catch (error) {
      if (error instanceof ServiceError) this.#refused(registrationId, caller, error)
      throw error
    }
  }

  /** By which policy a device is issued what it asks for. @throws ServiceError 400 when it may not ask */
  #policyFor(csr: string | undefined, { entry }: Attested): string | undefined {
    const { credentialPolicyName } = entry.stored
    if (csr === undefined || credentialPolicyName !== undefined) {
      return csr === undefined ? undefined : credentialPolicyName
    }
    throw new ServiceError(400, 400000, 'Bad request: csr: the enrollment has no credentialPolicyName.')
  }

  #settle(
    body: RegistrationBody,
    attested: Attested,
    caller: Caller,
    choice: Choice | undefined,
    issued: IssuedCredential | undefined,
  ): Outcome {
    const { registrationId, tpm } = body
    const { assignment, challenges } = this.#tools
    const state = assign(registrationId, attested, choice, issued !== undefined, assignment)
    const { assignedHub, substatus, deviceId } = state
    const hub = assignment.linkedHubs.known(assignedHub)
    if (issued !== undefined) hub?.trustIssued(deviceId, issued)
    const chain =
      issued === undefined ? {} : { issuedCertificateChain: [issued.leaf, ...issued.authorities].map(derOf) }
    this.#attempted(registrationId, caller, { outcome: 'assigned', assignedHub, substatus })
    const key = hub?.registry.get(deviceId)?.authentication.symmetricKey?.primaryKey ?? undefined
    // A device that was issued a certificate has no key at its hub.
    if (attested.proof.by !== 'tpm' || tpm === undefined || key === undefined) {
      return { status: 'assigned', state, ...chain }
    }
    const authenticationKey = challenges.blob(tpm, Buffer.from(key, 'base64'))
    return { status: 'assigned', state, authenticationKey }
  }

  /** What takes its time: a webhook that chooses the hub, an authority that signs. */
  async #work(
    body: RegistrationBody,
    attested: Attested,
    caller: Caller,
    policyName: string | undefined,
  ): Promise<Outcome> {
    const { registrationId, payload, csr } = body
    const { assignment, issue } = this.#tools
    try {
      const choice =
        attested.entry.stored.allocationPolicy === 'custom'
          ? await askWebhook(registrationId, attested, payload, assignment.linkedHubs.list())
          : undefined
      const issued =
        policyName === undefined || csr === undefined
          ? undefined
          : await issue(policyName, csr, registrationId)
      return this.#settle(body, attested, caller, choice, issued)
    } catch (error) {
      const failure = failureOf(error)
      this.#refused(registrationId, caller, failure)
      return { status: 'failed', error: failure }
    }
  }

  #poll(operationId: string, caller: Caller): Answer {
    const { registrationId } = caller.userName
    this.#identify(registrationId, caller)
    const operation = this.#operations.find(registrationId, operationId)
    if (operation === undefined) {
      throw new ServiceError(404, 404202, `There is no operation "${operationId}" for "${registrationId}".`)
    }
    const { leaf } = caller.presented
    if (operation.thumbprint === undefined) {
      this.#requireAttested(this.#attest({ registrationId }, caller).kind)
    } else if (leaf === undefined || thumbprint256(leaf) !== operation.thumbprint) {
      throw new Unauthorized('Unauthorized', 'The operation was begun with another certificate.')
    }
    return outcomeAnswer(operation, this.#tools.retryAfterSeconds, this.#tools.now())
  }

  #lookUp(content: Buffer, caller: Caller): Answer {
    const body = readRegistration(content, caller.userName.apiVersion)
    if (body.csr !== undefined) {
      throw new ServiceError(400, 400000, 'Bad request: csr: a status look-up issues no certificate.')
    }
    this.#identify(body.registrationId, caller)
    this.#requireAttested(this.#attest(body, caller).kind)
    const state = this.#tools.assignment.registrations.get(body.registrationId)
    if (state === undefined) {
      throw new ServiceError(404, 404202, `"${body.registrationId}" has not been registered.`)
    }
    return { status: 200, body: stateBody(state) }
  }

  #requireAttested(kind: ReturnType<typeof attest>['kind']): void {
    if (kind !== 'individual' && kind !== 'group') {
      throw new Unauthorized('Unauthorized', 'The device does not attest any more.')
    }
  }

  #attest(
    { registrationId, tpm }: RegistrationBody,
    { presented, token, over }: Caller,
  ): Exclude<ReturnType<typeof attest>, { readonly kind: 'unauthorized' }> {
    const { idScope, entries, now } = this.#tools
    const resource = `${idScope}/registrations/${registrationId}`
    const attested = attest({ registrationId, presented, token, resource, tpm }, entries, now())
    if (attested.kind === 'unauthorized') throw new Unauthorized(attested.message, attested.reason)
    const byTpm = attested.kind === 'challenge' || ('proof' in attested && attested.proof.by === 'tpm')
    if (byTpm && over === 'mqtt')
      throw new Unauthorized('Unauthorized', 'A TPM attests over HTTPS, and not over MQTT.')
    return attested
  }

  #challenge({ registrationId, tpm }: RegistrationBody): Answer {
    if (tpm === undefined) throw new Unauthorized('Unauthorized', 'Expected the keys of a TPM, got none.')
    return {
      status: 401,
      body: {
        message: 'Authorization required.',
        authenticationKey: this.#tools.challenges.challenge(registrationId, tpm),
        unencryptedAuthenticationKey: null,
        keyName: 'registration',
      },
    }
  }

  /** User name, client id and body must name the same device, and this service. */
  #identify(registrationId: string, { userName, clientId }: Caller): void {
    const { idScope } = this.#tools
    if (userName.idScope.toLowerCase() !== idScope.toLowerCase()) {
      throw new Unauthorized('Unauthorized', `Expected the id scope "${idScope}", got "${userName.idScope}".`)
    }
    const { apiVersion = '' } = userName
    if (!deviceApiVersions.some((known) => known === apiVersion.toLowerCase())) {
      throw new ServiceError(400, 400000, `Bad request: the api-version "${apiVersion}" is not supported.`)
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
    if (this.#tools.disabledEnrollment === 'unauthorized') throw new Unauthorized('Unauthorized', reason)
    this.#attempted(registrationId, caller, { outcome: 'disabled', reason })
    return {
      status: 200,
      body: { status: 'disabled', registrationState: { registrationId, status: 'disabled' } },
    }
  }

  #refused(registrationId: string, caller: Caller, error: ServiceError): void {
    const reason = error instanceof Unauthorized ? error.reason : error.message
    this.#attempted(registrationId, caller, { outcome: error.errorCode, reason })
  }

  #attempted(registrationId: string, { presented: { leaf } }: Caller, result: Result): void {
    const thumbprint = leaf === undefined ? '' : thumbprint256(leaf)
    this.#tools.attempted({ registrationId, thumbprint, at: this.#tools.now(), ...result })
  }
}

function failureOf(error: unknown): ServiceError {
  if (error instanceof ServiceError) return error
  if (error instanceof RequestRefused) return new ServiceError(400, 400213, error.message)
  return new ServiceError(500, 500000, 'The assignment has failed.')
}

/** 401002, with what the device is not told. */
class Unauthorized extends ServiceError {
  readonly reason: string

  constructor(message: string, reason: string) {
    super(401, 401002, message)
    this.reason = reason
  }
}
