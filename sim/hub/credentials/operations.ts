import { randomUUID } from 'node:crypto'
import { RequestRefused } from '../../adr/certificate-request.ts'
import { derOf, type IssuedCredential } from '../../adr/credential-policies.ts'
import type { Alarms } from '../alarms.ts'
import {
  accepted,
  completed,
  failed,
  type CredentialAnswer,
  type CredentialErrorCode,
  type CredentialErrorInfo,
  type CredentialOutcome,
} from './answer.ts'
import { IssuanceControl, type IssuanceFault } from './issuance.ts'
import { readCertificateRequest } from './request.ts'

/** An operation that has begun: JSON. */
export interface CredentialOperation {
  readonly deviceId: string
  readonly requestId: string
  readonly correlationId: string
  readonly csr: string
  /** Milliseconds since 1970. */
  readonly expiresAt: number
  /** When it is its turn; `null` while it is stuck. */
  readonly dueAt: number | null
  readonly rejection: { readonly errorCode: 400037 | 400040; readonly credentialError: string } | null
}

/** What operations need of their hub. */
export interface CredentialTools {
  readonly now: () => number
  readonly alarms: Alarms
  /** Signs, and trusts the leaf for that device from then on. @throws RequestRefused */
  issue(deviceId: string, csr: string): Promise<IssuedCredential>
  /** An operation has begun, in the place of all before it. */
  began(deviceId: string): void
  /** For whoever listens now. */
  answer(deviceId: string, requestId: string, answer: CredentialAnswer): void
  /** What an operation has come to: the device gets it whenever it listens. */
  ended(operation: CredentialOperation, answer: CredentialAnswer): void
}

interface Running {
  readonly operation: CredentialOperation
  readonly cancel: () => void
}

/** `$iothub/credentials`: one operation at a time for each device, from its 202 to its result. */
export class CredentialOperations {
  readonly control = new IssuanceControl()
  readonly #tools: CredentialTools
  readonly #running = new Map<string, Running>()
  /** The instants of the requests of the last minute. */
  readonly #recent = new Map<string, readonly number[]>()

  constructor(tools: CredentialTools) {
    this.#tools = tools
  }

  /** A device has asked for a certificate. */
  requested(deviceId: string, requestId: string, body: Buffer): void {
    const refusal = this.#begin(deviceId, requestId, body)
    if (refusal !== undefined) this.#tools.answer(deviceId, requestId, refusal)
  }

  /** The operation of a device that is going on. */
  active(deviceId: string): CredentialOperation | undefined {
    return this.#running.get(deviceId)?.operation
  }

  /** Goes on with what is stuck. */
  releaseStuck(): void {
    for (const { operation } of [...this.#running.values()]) {
      if (operation.dueAt === null) this.#run({ ...operation, dueAt: this.#tools.now() })
    }
  }

  /** The device is gone, and with it what it has asked for. */
  delete(deviceId: string): void {
    this.#stop(deviceId)
    this.#recent.delete(deviceId)
  }

  snapshot(): readonly CredentialOperation[] {
    return [...this.#running.values()].map(({ operation }) => operation)
  }

  restore(operations: readonly CredentialOperation[]): void {
    for (const deviceId of [...this.#running.keys()]) this.#stop(deviceId)
    for (const operation of operations) this.#run(operation)
  }

  /** @returns the refusal, or `undefined` when an operation has begun */
  #begin(deviceId: string, requestId: string, body: Buffer): CredentialAnswer | undefined {
    const refuse = (code: CredentialErrorCode, message: string, retryAfter?: number): CredentialAnswer =>
      failed(code, message, this.#tools.now(), info(code), retryAfter)
    const info = (code: CredentialErrorCode): CredentialErrorInfo => {
      if (code === 409004 || code === 409005) return this.#inTheWay(deviceId)
      return code === 412001 && replace !== undefined ? { requestId: replace } : {}
    }
    const request = readCertificateRequest(deviceId, body)
    const replace = 'errorCode' in request ? undefined : request.replace
    if ('errorCode' in request) return refuse(request.errorCode, request.message)
    const fault = this.control.faults.take()
    if (fault?.kind === 'refuse') {
      return refuse(fault.errorCode, 'A fault was asked for.', fault.retryAfterSeconds)
    }
    const active = this.active(deviceId)
    if (replace !== undefined && replace !== '*' && active?.requestId !== replace) {
      return refuse(412001, `There is no active operation "${replace}" to replace.`)
    }
    if (active !== undefined && replace === undefined) {
      return active.requestId === requestId
        ? refuse(409005, 'This very request is being worked on.')
        : refuse(409004, 'Another operation is active; `replace` takes its place.')
    }
    const wait = this.#secondsToWait(deviceId)
    if (wait > 0) return refuse(429002, 'The device has asked too often.', wait)
    if (active === undefined && this.#running.size >= this.control.openOperations) {
      return refuse(429003, 'The hub has too many operations open.', 1)
    }
    this.#accept(deviceId, requestId, request.csr, fault)
    return undefined
  }

  #accept(deviceId: string, requestId: string, csr: string, fault: IssuanceFault | undefined): void {
    const { now } = this.#tools
    const correlationId = randomUUID()
    const expiresAt = now() + this.control.lifetimeMs
    const delayMs = fault?.kind === 'delay' ? fault.delayMs : this.control.delayMs
    this.#recent.set(deviceId, [...(this.#recent.get(deviceId) ?? []), now()])
    this.#tools.began(deviceId)
    this.#tools.answer(deviceId, requestId, accepted(correlationId, new Date(expiresAt).toISOString()))
    this.#run({
      deviceId,
      requestId,
      correlationId,
      csr,
      expiresAt,
      dueAt: fault?.kind === 'stick' ? null : now() + delayMs,
      rejection:
        fault?.kind === 'reject'
          ? { errorCode: fault.errorCode, credentialError: fault.credentialError }
          : null,
    })
  }

  #run(operation: CredentialOperation): void {
    const { deviceId, dueAt, expiresAt } = operation
    this.#stop(deviceId)
    const { alarms } = this.#tools
    const isLate = dueAt === null || dueAt > expiresAt
    const cancel = isLate
      ? alarms.at(expiresAt, () => this.#stop(deviceId))
      : alarms.at(dueAt, () => void this.#complete(operation))
    this.#running.set(deviceId, { operation, cancel })
  }

  async #complete(operation: CredentialOperation): Promise<void> {
    const { deviceId, correlationId } = operation
    const outcome = await this.#outcome(operation)
    // It may have been replaced meanwhile, or the device deleted.
    if (this.active(deviceId)?.correlationId !== correlationId) return
    this.#stop(deviceId)
    this.#tools.ended(operation, completed(correlationId, outcome, this.#tools.now()))
  }

  async #outcome({ deviceId, csr, rejection, requestId }: CredentialOperation): Promise<CredentialOutcome> {
    const rejected = (
      errorCode: 400037 | 400040,
      credentialError: string,
      why: string,
    ): CredentialOutcome => ({
      errorCode,
      message: 'The certificate signing request was rejected.',
      info: { credentialError, credentialMessage: why, requestId },
    })
    if (rejection !== null) {
      return rejected(rejection.errorCode, rejection.credentialError, 'A fault was asked for.')
    }
    try {
      const { leaf, authorities } = await this.#tools.issue(deviceId, csr)
      return { certificates: [leaf, ...authorities].map(derOf) }
    } catch (error) {
      if (!(error instanceof RequestRefused)) {
        const message = `The issue failed: ${String(error)}`
        return { errorCode: 500001, message, info: { requestId } }
      }
      // As it was captured of a request that is Base64 of something else.
      if (error.credentialError === 'FailedToDecodeCsr') {
        return rejected(400037, '400000', 'CSR did not pass verification')
      }
      return rejected(400040, error.credentialError, error.message)
    }
  }

  #stop(deviceId: string): void {
    this.#running.get(deviceId)?.cancel()
    this.#running.delete(deviceId)
  }

  #inTheWay(deviceId: string): CredentialErrorInfo {
    const active = this.active(deviceId)
    if (active === undefined) return {}
    const { requestId, correlationId, expiresAt } = active
    const operationExpires = new Date(expiresAt).toISOString()
    return { correlationId, requestId, operationExpires }
  }

  /** Forgets requests older than a minute. @returns 0 when one more is allowed */
  #secondsToWait(deviceId: string): number {
    const now = this.#tools.now()
    const recent = (this.#recent.get(deviceId) ?? []).filter((at) => at > now - 60_000)
    this.#recent.set(deviceId, recent)
    const [oldest = now] = recent
    if (recent.length < this.control.requestsPerMinute) return 0
    return Math.max(1, Math.ceil((oldest + 60_000 - now) / 1000))
  }
}
