import type { Adopter, ExistingKey } from './adopt-key.ts'
import type { KeyStore, TokenDescription } from './key-store.ts'
import type { TlsBinding } from './tls-binding.ts'

/** An opened token: this process is logged in, and agents can keep their keys on it. */
export interface HsmToken {
  readonly description: TokenDescription
  /** How TLS uses the keys of this token. */
  readonly tls: TlsBinding
  /**
   * The key slots of one agent.
   *
   * @param agentName 1 to 128 of the characters of a device id; becomes part of the objects' `CKA_LABEL`.
   * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
   */
  keyStore(agentName: string): KeyStore
  /**
   * Makes a key pair that is on the token already a generation of an agent.
   *
   * @returns false where the token has no such key
   * @throws LeafkeeperError `HSM_URI_INVALID`, `AGENT_CONFIG_INVALID`, `HSM_KEY_EXISTS`, `CERT_KEY_MISMATCH` ...
   */
  adopt(existing: ExistingKey, adopter: Adopter): Promise<boolean>
  /**
   * Ends this use; may be called twice. The last one to close the token waits for running calls, then logs out,
   * closes the sessions and, unless TLS used it, finalises the module.
   */
  close(): Promise<void>
}
