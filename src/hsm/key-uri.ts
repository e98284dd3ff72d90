import type { KeyId } from '../brands.ts'
import type { TokenDescription } from './key-store.ts'
import { printPkcs11Uri } from './pkcs11-uri.ts'

/**
 * The URI of a private key. Label and serial number name the token, since either alone can be shared; `id` names the
 * key. libp11 0.4.12 refuses a URI with any attribute it does not know, so there are no others.
 */
export function keyUriOf(token: TokenDescription, keyId: KeyId): string {
  return printPkcs11Uri({
    token: token.label,
    serial: token.serial,
    id: Buffer.from(keyId, 'hex'),
    type: 'private',
  })
}
