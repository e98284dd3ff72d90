import type { SecureContext, SecureVersion } from 'node:tls'
import type { DeviceId, Pem } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import type { KeyStore, StoredGeneration } from '../hsm/key-store.ts'
import type { DeviceCredential } from '../transport/credential.ts'
import type { AgentState } from './states.ts'

/** Makes OpenSSL contexts that sign inside the HSM. */
export interface KeyBinding {
  secureContext(
    keyUri: string,
    chain: Pem,
    trustedAuthorities: string | undefined,
    maxVersion?: SecureVersion,
  ): SecureContext
  /** Lets go of everything cached for a key that no longer exists. */
  forget(keyUri: string): void
}

/** The generations of one agent as credentials, with their chains kept at hand. */
export class Credentials {
  readonly #keyStore: KeyStore
  readonly #binding: KeyBinding
  readonly #commonName: DeviceId
  readonly #stored = new Map<number, StoredGeneration>()

  constructor(keyStore: KeyStore, binding: KeyBinding, commonName: DeviceId) {
    this.#keyStore = keyStore
    this.#binding = binding
    this.#commonName = commonName
  }

  /** Looks at the token, and remembers what is there. */
  async refresh(): Promise<readonly (StoredGeneration & { readonly number: number })[]> {
    const found = await this.#keyStore.list()
    this.#stored.clear()
    const numbered = found.flatMap((g) => (g.number === undefined ? [] : [{ ...g, number: g.number }]))
    for (const generation of numbered) this.#stored.set(generation.number, generation)
    return numbered
  }

  remember(generation: StoredGeneration): void {
    if (generation.number !== undefined) this.#stored.set(generation.number, generation)
  }

  /** Its key no longer exists. */
  forget(number: number): void {
    const stored = this.#stored.get(number)
    if (stored !== undefined) this.#binding.forget(this.#keyStore.keyUri(stored.keyId))
    this.#stored.delete(number)
  }

  /** The generation as the token was seen to have it last. */
  known(number: number): StoredGeneration | undefined {
    return this.#stored.get(number)
  }

  /** The generation as the token has it. */
  async stored(number: number): Promise<StoredGeneration> {
    const known = this.#stored.get(number) ?? (await this.refresh()).find((g) => g.number === number)
    if (known !== undefined) return known
    throw new LeafkeeperError('HSM_KEY_NOT_FOUND', {
      message: `Expected generation ${number} of ${this.#commonName} on the token ${this.#keyStore.token.label}; it is not there.`,
    })
  }

  /** The chain of a generation; `undefined` while it has none. */
  async chain(number: number): Promise<Pem | undefined> {
    return (await this.stored(number)).chain
  }

  /** What the device shows to DPS and to hubs as this generation. */
  async credential(number: number): Promise<DeviceCredential> {
    const { keyId, chain } = await this.stored(number)
    if (chain === undefined)
      throw new LeafkeeperError('HSM_KEY_NOT_FOUND', {
        message: `Expected a certificate beside the key of generation ${number}; there is none.`,
      })
    const keyUri = this.#keyStore.keyUri(keyId)
    return {
      commonName: this.#commonName,
      chain,
      keyUri,
      secureContext: (trustedAuthorities, maxVersion) =>
        this.#binding.secureContext(keyUri, chain, trustedAuthorities, maxVersion),
    }
  }
}

/** The generation that is in use, as the machine knows it. */
export function activeGeneration(state: AgentState): AgentState['generations'][number] | undefined {
  return state.generations.find((g) => g.number === state.active)
}
