import type { ErrorCode } from '../error-table.ts'

/**
 * What OpenSSL's engine says of the return values of PKCS#11 that do not speak of the key: the words are libp11's
 * (p11_err.c, `CKR_str_reasons`).
 */
const otherThanTheKey: Readonly<Record<string, ErrorCode>> = {
  'Device error': 'HSM_DEVICE_ERROR',
  'Device memory': 'HSM_DEVICE_ERROR',
  'Function failed': 'HSM_DEVICE_ERROR',
  'General Error': 'HSM_DEVICE_ERROR',
  'Host memory error': 'HSM_DEVICE_ERROR',
  // What is lost is found out before the next handshake.
  'Device removed': 'HSM_TOKEN_REMOVED',
  'Session closed': 'HSM_TOKEN_REMOVED',
  'Session handle invalid': 'HSM_TOKEN_REMOVED',
  'Token not present': 'HSM_TOKEN_REMOVED',
  // Left behind by a call that failed: only leaving the session ends it, and the engine keeps its sessions.
  'Operation active': 'TLS_RESTART_NEEDED',
}

/**
 * What it means that OpenSSL could not sign: the token had a failure that may pass, the engine is of no use any more,
 * or this key cannot be used.
 *
 * @param said The reason of OpenSSL's error.
 */
export function keyFailure(said: string): ErrorCode {
  return otherThanTheKey[said] ?? 'TLS_KEY_UNUSABLE'
}
