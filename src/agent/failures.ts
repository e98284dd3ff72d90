import { LeafkeeperError, messageOf, type ErrorCode } from '../errors.ts'
import type { Effect } from './effects.ts'
import type { Failure } from './events.ts'

/** What a failure without a code of its own counts as: something that may pass. */
const unexpected: Record<Exclude<Effect['kind'], 'wakeAt' | 'abandonAll'>, ErrorCode> = {
  generateKey: 'HSM_DEVICE_ERROR',
  storeCertificate: 'HSM_DEVICE_ERROR',
  destroyGeneration: 'HSM_DEVICE_ERROR',
  requestCertificate: 'ISSUER_UNAVAILABLE',
  register: 'PROTOCOL_ERROR',
  prepareHub: 'PROTOCOL_ERROR',
  connectHub: 'PROTOCOL_ERROR',
  closeConnection: 'PROTOCOL_ERROR',
}

/** Anything that was thrown while an effect was performed, as one of our own errors. */
export function asLeafkeeperError(effect: Effect, thrown: unknown): LeafkeeperError {
  if (thrown instanceof LeafkeeperError) return thrown
  const code =
    effect.kind === 'wakeAt' || effect.kind === 'abandonAll' ? 'PROTOCOL_ERROR' : unexpected[effect.kind]
  return new LeafkeeperError(code, { message: messageOf(thrown), cause: thrown })
}

/** The part of an error that the machine decides by. */
export function failureOf(error: LeafkeeperError): Failure {
  return { code: error.code, retryable: error.retryable, retryAfterMs: durationOr(error.retryAfterMs, null) }
}

/** A duration that somebody else gave, where it is one; in milliseconds. */
export function durationOr<Otherwise>(value: number | undefined, otherwise: Otherwise): number | Otherwise {
  return value !== undefined && Number.isFinite(value) && value >= 0 ? value : otherwise
}
