import type { SecureContext, SecureVersion } from 'node:tls'
import type { DeviceId, Pem } from '../brands.ts'

/** What a device shows to DPS and to a hub: a certificate chain, and a key it can use but not read. */
export interface DeviceCredential {
  /** The common name of the leaf, which is the registration id. */
  readonly commonName: DeviceId
  /** Leaf first, then intermediates. */
  readonly chain: Pem
  /** Names the private key (RFC 7512); given to the SDKs in place of a key. */
  readonly keyUri: string
  /**
   * An OpenSSL context that presents the chain and signs with the key; made once for each set of trusted
   * authorities. `trustedAuthorities` is PEM; without it Node's own list is used. `maxVersion` is the highest version
   * of TLS to agree on, where a protocol above needs an older one.
   *
   * @throws LeafkeeperError `TLS_ENGINE_MISSING`, `TLS_RESTART_NEEDED`, `TLS_KEY_UNUSABLE`
   */
  secureContext(trustedAuthorities: string | undefined, maxVersion?: SecureVersion): SecureContext
}
