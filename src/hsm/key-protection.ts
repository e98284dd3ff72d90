import type { Handle, PKCS11 } from 'pkcs11js'
import { readAttributes } from './attributes.ts'
import type { KeyProtection } from './key-store.ts'

/** Reads what the token itself says of how a private key is guarded. */
export function readProtection(api: PKCS11, session: Handle, privateKey: Handle): KeyProtection {
  const values = readAttributes(api, session, privateKey, [
    'CKA_SENSITIVE',
    'CKA_ALWAYS_SENSITIVE',
    'CKA_EXTRACTABLE',
    'CKA_NEVER_EXTRACTABLE',
  ])
  const isSet = (name: keyof typeof values): boolean => values[name][0] === 1
  return {
    sensitive: isSet('CKA_SENSITIVE'),
    alwaysSensitive: isSet('CKA_ALWAYS_SENSITIVE'),
    extractable: isSet('CKA_EXTRACTABLE'),
    neverExtractable: isSet('CKA_NEVER_EXTRACTABLE'),
  }
}
