import { LeafkeeperError, type ErrorCode } from '../errors.ts'
import type { HsmSigner, KeyStore } from './key-store.ts'

/** What the token was asked for. Signatures in TLS handshakes are OpenSSL's own calls, and are not among these. */
export const hsmOperations = ['generate', 'sign', 'store', 'find', 'destroy'] as const

export type HsmOperation = (typeof hsmOperations)[number]

/** One call to the token, once it has ended. */
export interface HsmCall {
  readonly operation: HsmOperation
  /** The wait for its turn and for a free session included, in milliseconds. */
  readonly durationMs: number
  /** Why it failed; `null` where it did not. */
  readonly code: ErrorCode | null
}

/** The same key store, telling how long each of its calls took. */
export function timedKeyStore(store: KeyStore, tell: (call: HsmCall) => void): KeyStore {
  async function timed<Result>(operation: HsmOperation, work: () => Promise<Result>): Promise<Result> {
    const begun = performance.now()
    const ended = (code: ErrorCode | null): void =>
      tell({ operation, durationMs: performance.now() - begun, code })
    try {
      const result = await work()
      ended(null)
      return result
    } catch (error) {
      ended(error instanceof LeafkeeperError ? error.code : 'HSM_DEVICE_ERROR')
      throw error
    }
  }
  const timedSigner = (signer: HsmSigner): HsmSigner => ({
    keyType: signer.keyType,
    publicKey: signer.publicKey,
    sign: (data, hash) => timed('sign', () => signer.sign(data, hash)),
  })
  return {
    get token() {
      return store.token
    },
    generate: (number, keyType) => timed('generate', () => store.generate(number, keyType)),
    list: () => timed('find', () => store.list()),
    storeCertificate: (keyId, chain) => timed('store', () => store.storeCertificate(keyId, chain)),
    destroy: (keyId) => timed('destroy', () => store.destroy(keyId)),
    signer: async (keyId) => timedSigner(await timed('find', () => store.signer(keyId))),
    protection: (keyId) => timed('find', () => store.protection(keyId)),
    keyUri: (keyId) => store.keyUri(keyId),
  }
}
