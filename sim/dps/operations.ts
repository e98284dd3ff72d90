import { createHash, randomUUID } from 'node:crypto'
import type { RegistrationState } from './registrations.ts'

/** A registration whose outcome a device can ask for. */
export interface Operation {
  readonly operationId: string
  readonly registrationId: string
  /** That of the leaf it was asked for with: no other may ask about it. */
  readonly thumbprint: string
  readonly state: RegistrationState
}

/** The last operation of each registration; an older one is unknown. */
export class Operations {
  readonly #byRegistration = new Map<string, Operation>()
  readonly #prefix: string

  constructor(idScope: string) {
    // As in `5.506603669bd3e2bf.<guid>`, where the middle is the same for one service.
    this.#prefix = `5.${createHash('sha256').update(idScope).digest('hex').slice(0, 16)}`
  }

  start(registrationId: string, thumbprint: string, state: RegistrationState): Operation {
    const operation = { operationId: `${this.#prefix}.${randomUUID()}`, registrationId, thumbprint, state }
    this.#byRegistration.set(registrationId.toLowerCase(), operation)
    return operation
  }

  find(registrationId: string, operationId: string): Operation | undefined {
    const operation = this.#byRegistration.get(registrationId.toLowerCase())
    return operation?.operationId === operationId ? operation : undefined
  }
}
