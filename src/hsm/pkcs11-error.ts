import { LeafkeeperError, messageOf, type ErrorCode } from '../errors.ts'

/**
 * What each PKCS#11 return value means to a person (PKCS#11 v2.40, 5.1). A name that is not listed is a failure of
 * the token's own.
 */
const codes: Readonly<Record<string, ErrorCode>> = {
  CKR_DEVICE_MEMORY: 'HSM_TOKEN_FULL',
  CKR_DEVICE_REMOVED: 'HSM_TOKEN_REMOVED',
  CKR_TOKEN_NOT_PRESENT: 'HSM_TOKEN_REMOVED',
  CKR_TOKEN_NOT_RECOGNIZED: 'HSM_TOKEN_REMOVED',
  CKR_SLOT_ID_INVALID: 'HSM_TOKEN_REMOVED',
  CKR_SESSION_CLOSED: 'HSM_TOKEN_REMOVED',
  CKR_SESSION_HANDLE_INVALID: 'HSM_TOKEN_REMOVED',
  CKR_USER_NOT_LOGGED_IN: 'HSM_TOKEN_REMOVED',
  CKR_SESSION_COUNT: 'HSM_SESSIONS_EXHAUSTED',
  CKR_PIN_INCORRECT: 'HSM_PIN_INCORRECT',
  CKR_PIN_INVALID: 'HSM_PIN_INCORRECT',
  CKR_PIN_LEN_RANGE: 'HSM_PIN_INCORRECT',
  CKR_PIN_EXPIRED: 'HSM_PIN_INCORRECT',
  CKR_PIN_LOCKED: 'HSM_PIN_LOCKED',
  CKR_USER_PIN_NOT_INITIALIZED: 'HSM_PIN_LOCKED',
  CKR_MECHANISM_INVALID: 'HSM_KEY_TYPE_UNSUPPORTED',
  CKR_MECHANISM_PARAM_INVALID: 'HSM_KEY_TYPE_UNSUPPORTED',
  CKR_DOMAIN_PARAMS_INVALID: 'HSM_KEY_TYPE_UNSUPPORTED',
  CKR_CURVE_NOT_SUPPORTED: 'HSM_KEY_TYPE_UNSUPPORTED',
  CKR_KEY_SIZE_RANGE: 'HSM_KEY_TYPE_UNSUPPORTED',
  CKR_KEY_HANDLE_INVALID: 'HSM_KEY_NOT_FOUND',
  CKR_OBJECT_HANDLE_INVALID: 'HSM_KEY_NOT_FOUND',
  CKR_CRYPTOKI_NOT_INITIALIZED: 'HSM_CLOSED',
}

/** Session or login are gone or of no use: a new session, and a new login with the PIN that was accepted, can help. */
const lostNames = new Set([
  'CKR_SESSION_CLOSED',
  'CKR_SESSION_HANDLE_INVALID',
  'CKR_DEVICE_REMOVED',
  'CKR_TOKEN_NOT_PRESENT',
  'CKR_USER_NOT_LOGGED_IN',
  // An operation that a failed call has left behind: PKCS#11 v2.40 has no way to end it but to leave the session.
  'CKR_OPERATION_ACTIVE',
])

const staleNames = new Set(['CKR_OBJECT_HANDLE_INVALID', 'CKR_KEY_HANDLE_INVALID'])

/** The `CKR_...` name in something that pkcs11js threw; `undefined` for anything else. */
export function ckrName(thrown: unknown): string | undefined {
  if (thrown instanceof LeafkeeperError) return ckrName(thrown.cause)
  // pkcs11js turns most errors into Pkcs11Error, but C_FindObjects throws the native "CKR_NAME:number" as it is.
  return thrown instanceof Error ? /\bCKR_[A-Z0-9_]+/.exec(thrown.message)?.[0] : undefined
}

/** Whether the session or the login was lost, or cannot be used any more. */
export function isSessionLost(thrown: unknown): boolean {
  return lostNames.has(ckrName(thrown) ?? '')
}

/** Whether a remembered object is no longer what the token has. */
export function isHandleStale(thrown: unknown): boolean {
  return staleNames.has(ckrName(thrown) ?? '')
}

/**
 * Turns what a PKCS#11 call threw into a {@link LeafkeeperError} whose `reason` is the `CKR_` name. An error that
 * already is one passes through.
 *
 * @param doing What was being done, to follow "could not": `generate an EC-P256 key pair on token "gateway"`.
 * @param otherwise The code where the name says nothing better.
 */
export function hsmError(
  thrown: unknown,
  doing: string,
  otherwise: ErrorCode = 'HSM_DEVICE_ERROR',
): LeafkeeperError {
  if (thrown instanceof LeafkeeperError) return thrown
  const name = ckrName(thrown)
  return new LeafkeeperError((name === undefined ? undefined : codes[name]) ?? otherwise, {
    message: `Could not ${doing}: ${name ?? messageOf(thrown)}.`,
    cause: thrown,
    ...(name === undefined ? {} : { reason: name }),
  })
}
