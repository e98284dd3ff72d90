import type { SecureContext, SecureVersion } from 'node:tls'
import type { Pem } from '../brands.ts'

/**
 * How TLS uses a private key that stays inside the HSM. Node knows two ways: an OpenSSL engine (deprecated, DEP0183,
 * but there from Node 20 on), and in recent releases an OpenSSL provider. Everything else in leafkeeper sees only
 * this.
 */
export interface TlsBinding {
  /**
   * An OpenSSL context that presents `chain` and signs with the key that `keyUri` names. Contexts are kept: the same
   * key, chain, authorities and version give the same context, without a look-up on the token.
   *
   * @param keyUri From `KeyStore.keyUri`; without a PIN.
   * @param trustedAuthorities PEM; `undefined` for Node's own list.
   * @param maxVersion The highest version of TLS to agree on; `undefined` for Node's own.
   * @throws LeafkeeperError `TLS_ENGINE_MISSING`, `TLS_ENGINE_OTHER_MODULE`, `TLS_RESTART_NEEDED`, `TLS_KEY_UNUSABLE`
   */
  secureContext(
    keyUri: string,
    chain: Pem,
    trustedAuthorities: string | undefined,
    maxVersion?: SecureVersion,
  ): SecureContext
  /** Lets go of the contexts of a key, before it is destroyed. Open connections stay. */
  forget(keyUri: string): void
}
