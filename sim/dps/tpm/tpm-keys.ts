/** The public keys of a TPM, as a device sends them: TPM2B_PUBLIC in Base64. */
export interface TpmKeys {
  readonly endorsementKey: string
  readonly storageRootKey: string
}
