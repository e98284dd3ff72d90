import type { SecureContext, SecureVersion } from 'node:tls'
import type { DeviceId, Pem } from '../brands.ts'
import type { Secret } from '../secret.ts'

/** What a device shows to DPS and to a hub. */
export type Credential = DeviceCredential | TpmCredential

/** A certificate chain, and a key that the device can use but not read. */
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

/** A signature that lets the device in for a while. */
export interface SharedAccessSignature {
  /** `SharedAccessSignature sr={resource}&sig={signature}&se={expiry}`; whoever has it is let in. */
  readonly token: Secret
  /** When another one has to take its place: before it expires. Milliseconds since 1970. */
  readonly renewAt: number
}

/** A TPM, whose keys do not leave it. */
export interface TpmCredential {
  readonly registrationId: string
  /** What DPS knows the TPM by; made where they are not there yet. Each is a TPM2B_PUBLIC. */
  publicKeys(): Promise<{ readonly endorsementKey: Buffer; readonly storageRootKey: Buffer }>
  /** Takes in an identity key that DPS has encrypted to this TPM. @throws LeafkeeperError `TPM_ACTIVATION_FAILED`, `TPM_*` */
  activate(blob: Buffer): Promise<void>
  /**
   * Signs with the identity key.
   *
   * @param resource what it is good for: `{hub}/devices/{device}`, or `{scope}/registrations/{registration}`
   * @param policy the name of the key, which DPS wants to hear and a hub does not
   * @throws LeafkeeperError `TPM_KEY_MISSING`, `TPM_*`
   */
  sharedAccessSignature(resource: string, policy?: string): Promise<SharedAccessSignature>
}
