import type { KeyId, Pem } from '../brands.ts'

/** The key types that Azure IoT accepts in a leaf and that common tokens can generate. */
export type KeyType = 'EC-P256' | 'EC-P384' | 'RSA-2048' | 'RSA-3072'

/** What one token says of itself (PKCS#11 `CK_TOKEN_INFO`); nothing here is secret. */
export interface TokenDescription {
  /** Path of the PKCS#11 module. */
  readonly module: string
  readonly label: string
  readonly serial: string
  readonly manufacturer: string
  readonly model: string
}

/** A key pair on the token, with the certificates that are stored beside it under the same `CKA_ID`. */
export interface StoredGeneration {
  readonly keyId: KeyId
  /** The generation's number, read from the object's label; `undefined` for a key that leafkeeper did not label. */
  readonly number: number | undefined
  readonly keyType: KeyType | undefined
  /** DER of the SubjectPublicKeyInfo; `undefined` where only a private key or only certificates are left. */
  readonly publicKey: Uint8Array | undefined
  readonly hasPrivateKey: boolean
  /** Leaf first; `undefined` while no certificate is stored. */
  readonly chain: Pem | undefined
}

/** How the token guards a private key, as the token itself states it (PKCS#11 v2.40, 4.9). */
export interface KeyProtection {
  /** `CKA_SENSITIVE`: its value cannot be read. */
  readonly sensitive: boolean
  /** `CKA_ALWAYS_SENSITIVE`: it never could. */
  readonly alwaysSensitive: boolean
  /** `CKA_EXTRACTABLE`: it could leave the token wrapped in another key. */
  readonly extractable: boolean
  /** `CKA_NEVER_EXTRACTABLE`: it never could. */
  readonly neverExtractable: boolean
}

/** Signs with one private key that stays inside the HSM. */
export interface HsmSigner {
  readonly keyType: KeyType
  /** DER of the SubjectPublicKeyInfo. */
  readonly publicKey: Uint8Array
  /**
   * Hashes `data` in this process and signs the digest inside the HSM, off the event loop.
   * EC keys give `r || s` (IEEE P1363, as Web Crypto does); RSA keys give PKCS#1 v1.5.
   */
  sign(data: Uint8Array, hash: 'SHA-256' | 'SHA-384' | 'SHA-512'): Promise<Uint8Array>
}

/**
 * The key slots of one agent on one token. Other agents' generations on the same token are never seen or touched.
 *
 * Every call may be repeated: asked again after a crash it finds the work done and gives the same answer.
 */
export interface KeyStore {
  readonly token: TokenDescription
  /**
   * Generates a key pair that is sensitive and never extractable; when the generation already has one of this
   * type, gives that one.
   */
  generate(number: number, keyType: KeyType): Promise<StoredGeneration>
  /** All generations of this agent on the token, lowest number first. */
  list(): Promise<readonly StoredGeneration[]>
  /** Stores a chain beside its key; replaces an incomplete one. The key must be there. */
  storeCertificate(keyId: KeyId, chain: Pem): Promise<void>
  /** Destroys every object of the generation, the private key first. Resolves when none was left. */
  destroy(keyId: KeyId): Promise<void>
  signer(keyId: KeyId): Promise<HsmSigner>
  /** @throws LeafkeeperError `HSM_KEY_NOT_FOUND` */
  protection(keyId: KeyId): Promise<KeyProtection>
  /** RFC 7512 URI of the private key, by token and `id=`, never with a PIN. */
  keyUri(keyId: KeyId): string
}
