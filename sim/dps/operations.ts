import { createHash, randomUUID } from 'node:crypto'
import type { ServiceError } from '../errors.ts'
import type { RegistrationState } from './registrations.ts'

/** How far an operation has come. */
export type Outcome =
  | { readonly status: 'assigning' }
  | {
      readonly status: 'assigned'
      readonly state: RegistrationState
      /** The hub's key for a TPM, encrypted to it: Base64. */
      readonly authenticationKey?: string
      /** What was issued, the leaf first: Base64 of the DER of each. */
      readonly issuedCertificateChain?: readonly string[]
    }
  | { readonly status: 'failed'; readonly error: ServiceError }

/** A registration whose outcome a device can ask for. */
export interface Operation {
  readonly operationId: string
  readonly registrationId: string
  /** That of the leaf it was asked for with, where there was one: no other may ask about it. */
  readonly thumbprint: string | undefined
  outcome: Outcome
}

/** The last operation of each registration; an older one is unknown. */
export class Operations {
  readonly #byRegistration = new Map<string, Operation>()
  readonly #prefix: string

  constructor(idScope: string) {
    // As in `5.506603669bd3e2bf.<guid>`, where the middle is the same for one service.
    this.#prefix = `5.${createHash('sha256').update(idScope).digest('hex').slice(0, 16)}`
  }

  start(registrationId: string, thumbprint: string | undefined): Operation {
    const operation: Operation = {
      operationId: `${this.#prefix}.${randomUUID()}`,
      registrationId,
      thumbprint,
      outcome: { status: 'assigning' },
    }
    this.#byRegistration.set(registrationId.toLowerCase(), operation)
    return operation
  }

  find(registrationId: string, operationId: string): Operation | undefined {
    const operation = this.#byRegistration.get(registrationId.toLowerCase())
    return operation?.operationId === operationId ? operation : undefined
  }
}
