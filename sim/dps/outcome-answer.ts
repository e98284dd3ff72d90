import { errorAnswer, type Answer } from './answer.ts'
import type { Operation } from './operations.ts'
import type { RegistrationState } from './registrations.ts'

/** What a device is told as long as nothing is decided. */
export function assigningAnswer({ operationId, registrationId }: Operation, retryAfter: number): Answer {
  return {
    status: 202,
    retryAfter,
    body: {
      operationId,
      status: 'assigning',
      registrationState: { registrationId, status: 'assigning' },
    },
  }
}

/** What a device is told when it asks about its operation. @param now - milliseconds since 1970 */
export function outcomeAnswer(operation: Operation, retryAfter: number, now: number): Answer {
  const { operationId, registrationId, outcome } = operation
  switch (outcome.status) {
    case 'assigning':
      return assigningAnswer(operation, retryAfter)
    case 'assigned': {
      const { state, authenticationKey, issuedCertificateChain } = outcome
      const tpm = authenticationKey === undefined ? {} : { x509: undefined, tpm: { authenticationKey } }
      const issued = issuedCertificateChain === undefined ? {} : { issuedCertificateChain }
      const registrationState = { ...stateBody(state), ...tpm, ...issued }
      return { status: 200, body: { operationId, status: 'assigned', registrationState } }
    }
    case 'failed': {
      const { errorCode, message } = outcome.error
      if (outcome.error.status >= 500) return errorAnswer(outcome.error, now)
      const registrationState = { registrationId, status: 'failed', errorCode, errorMessage: message }
      return { status: 200, body: { operationId, status: 'failed', registrationState } }
    }
  }
}

/** A registration as devices see it: with an empty x509 object, and without the group. */
export function stateBody({ enrollmentGroupId: _group, ...state }: RegistrationState): object {
  return { x509: {}, ...state }
}
