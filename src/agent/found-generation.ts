import type { StoredGeneration } from '../hsm/key-store.ts'
import { certificateFacts } from './certificate-exchange.ts'
import type { FoundGeneration } from './events.ts'

/** A generation of the token as the machine wants to know it. */
export function asFound(stored: StoredGeneration & { readonly number: number }): FoundGeneration {
  const { number, keyId, chain, hasPrivateKey } = stored
  return {
    number,
    keyId,
    hasKey: hasPrivateKey,
    certificate: chain === undefined ? null : certificateFacts(chain),
  }
}
