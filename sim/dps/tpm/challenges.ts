import { randomBytes } from 'node:crypto'
import { activationBlob } from './activation-blob.ts'
import type { TpmKeys } from './tpm-keys.ts'

/** The keys that TPMs were given to sign their registration with, by registration id: the last one counts. */
export class TpmChallenges {
  readonly #keys = new Map<string, Buffer>()

  /** Makes up a key and encrypts it to a TPM. @returns Base64 @throws ServiceError 400 for keys that are none */
  challenge(registrationId: string, keys: TpmKeys): string {
    const key = randomBytes(32)
    const blob = this.blob(keys, key)
    this.#keys.set(registrationId.toLowerCase(), key)
    return blob
  }

  /** Encrypts a key to a TPM. @returns Base64 @throws ServiceError 400 for keys that are none */
  blob(keys: TpmKeys, key: Buffer): string {
    return activationBlob(keys, key).toString('base64')
  }

  /** In Base64. */
  keyOf(registrationId: string): string | undefined {
    return this.#keys.get(registrationId.toLowerCase())?.toString('base64')
  }
}
