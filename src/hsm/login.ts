import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import { LeafkeeperError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import type { FoundToken } from './find-token.ts'
import { ckrName, hsmError } from './pkcs11-error.ts'
import { rememberRefused, wasRefused } from './refused-pins.ts'

const refusals = new Set(['CKR_PIN_INCORRECT', 'CKR_PIN_INVALID', 'CKR_PIN_LEN_RANGE', 'CKR_PIN_EXPIRED'])

/** States of a session in which the user is logged in (PKCS#11 v2.40, 3.3: CKS_RO_USER_FUNCTIONS, CKS_RW_USER_FUNCTIONS). */
const userStates: readonly number[] = [1, 3]

/**
 * Logs the user in, with one try. A PIN that this token refused is not tried again in this process, and the last
 * try before the token locks is left to a person.
 *
 * @throws LeafkeeperError `HSM_PIN_INCORRECT`, `HSM_PIN_LOCKED`
 */
export function logIn(api: PKCS11, session: Handle, token: FoundToken, pin: Secret): void {
  const { description, flags } = token
  const name = `token "${description.label}"`
  if (wasRefused(description, pin)) {
    throw new LeafkeeperError('HSM_PIN_INCORRECT', {
      message: `This PIN was refused by ${name} before; it was not tried again.`,
      reason: 'CKR_PIN_INCORRECT',
    })
  }
  if ((flags & pkcs11.CKF_USER_PIN_LOCKED) !== 0) {
    throw new LeafkeeperError('HSM_PIN_LOCKED', {
      message: `The user PIN of ${name} is locked; none was tried.`,
      reason: 'CKR_PIN_LOCKED',
    })
  }
  if ((flags & pkcs11.CKF_USER_PIN_FINAL_TRY) !== 0) {
    throw new LeafkeeperError('HSM_PIN_INCORRECT', {
      message: `Wrong PINs have left ${name} one try before it locks; it is left to a person (pkcs11-tool --login --test), after which leafkeeper goes on.`,
      reason: 'CKF_USER_PIN_FINAL_TRY',
    })
  }
  try {
    api.C_Login(session, pkcs11.CKU_USER, pin.reveal())
  } catch (thrown) {
    const reason = ckrName(thrown) ?? ''
    if (reason === 'CKR_USER_ALREADY_LOGGED_IN') return
    if (refusals.has(reason)) rememberRefused(description, pin)
    throw hsmError(thrown, `log in to ${name}`)
  }
}

/** Whether the token still knows the session. */
export function isAlive(api: PKCS11, session: Handle): boolean {
  try {
    api.C_GetSessionInfo(session)
    return true
  } catch {
    return false
  }
}

/** Whether the session is alive and its user logged in. */
export function isLoggedIn(api: PKCS11, session: Handle): boolean {
  try {
    return userStates.includes(api.C_GetSessionInfo(session).state)
  } catch {
    return false
  }
}
