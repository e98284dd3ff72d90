import type { Handle, PKCS11 } from 'pkcs11js'
import type { KeyId, Pem } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import type {
  HsmSigner,
  KeyProtection,
  KeyStore,
  KeyType,
  StoredGeneration,
  TokenDescription,
} from './key-store.ts'
import { readProtection } from './key-protection.ts'
import { keyUriOf } from './key-uri.ts'
import { checkAgentName, keyIdOf } from './object-name.ts'
import type { IndexedGeneration, IndexedObject, ObjectIndex } from './object-index.ts'
import { isHandleStale } from './pkcs11-error.ts'
import { readGeneration, readGenerations } from './stored-generation.ts'
import type { TokenConnection } from './token-connection.ts'
import { signOnToken } from './token-signer.ts'
import type { PresentGeneration, TokenWriter } from './token-writer.ts'

/** What the key stores of one token share. */
export interface KeyStoreParts {
  readonly connection: TokenConnection
  readonly index: ObjectIndex
  readonly writer: TokenWriter
  /** Called when a key is about to go. */
  readonly onDestroy: (keyUri: string) => void
}

/** The {@link KeyStore} of one agent on a PKCS#11 token. */
export class TokenKeyStore implements KeyStore {
  readonly #parts: KeyStoreParts
  readonly #agentName: string
  /** The first reading of the token that shows all that an earlier process of this agent wrote. */
  readonly #firstReading: number

  constructor(agentName: string, parts: KeyStoreParts) {
    checkAgentName(agentName)
    this.#agentName = agentName
    this.#parts = parts
    this.#firstReading = parts.index.upcomingReading
  }

  get token(): TokenDescription {
    return this.#parts.connection.description
  }

  async generate(number: number, keyType: KeyType): Promise<StoredGeneration> {
    if (!Number.isInteger(number) || number < 0 || number > 9_999_999_999) {
      throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
        message: `A generation's number is an integer of at most ten digits, not ${number}.`,
      })
    }
    const { connection, writer } = this.#parts
    const agentName = this.#agentName
    const keyId = keyIdOf(agentName, number)
    return await connection.turns.run(async () => {
      await this.#caughtUp()
      const present = this.#usable(keyId, keyType)
      if (present !== undefined) return present
      await writer.generate({ agentName, number, keyId, keyType }, () => {
        if (this.#usable(keyId, keyType) !== undefined) return false
        this.#clearHalfMade(keyId)
        return true
      })
      return this.#usable(keyId, keyType) ?? this.#absent(keyId)
    })
  }

  async list(): Promise<readonly StoredGeneration[]> {
    await this.#caughtUp()
    return this.#fresh(() =>
      this.#parts.connection.now('list the keys', (api, session) =>
        readGenerations(api, session, this.#generations()),
      ),
    )
  }

  async storeCertificate(keyId: KeyId, chain: Pem): Promise<void> {
    await this.#parts.connection.turns.run(async () => {
      await this.#caughtUp()
      this.#fresh(() => {
        this.#parts.writer.storeChain(() => this.#present(keyId), chain)
      })
    })
  }

  async destroy(keyId: KeyId): Promise<void> {
    await this.#parts.connection.turns.run(async () => {
      await this.#caughtUp()
      this.#parts.onDestroy(this.keyUri(keyId))
      this.#destroyAll(keyId)
    })
  }

  async signer(keyId: KeyId): Promise<HsmSigner> {
    await this.#caughtUp()
    const stored = this.#fresh(() => this.#read(keyId))
    const { keyType, publicKey } = stored ?? {}
    if (!stored?.hasPrivateKey || keyType === undefined || publicKey === undefined) return this.#absent(keyId)
    return {
      keyType,
      publicKey,
      sign: (data, hash) =>
        this.#freshLater('sign', (api, session) =>
          signOnToken(api, session, this.#privateKey(keyId).handle, { keyType, data, hash }),
        ),
    }
  }

  async protection(keyId: KeyId): Promise<KeyProtection> {
    await this.#caughtUp()
    return this.#fresh(() =>
      this.#parts.connection.now('read how a key is guarded', (api, session) =>
        readProtection(api, session, this.#privateKey(keyId).handle),
      ),
    )
  }

  keyUri(keyId: KeyId): string {
    return keyUriOf(this.token, keyId)
  }

  /** The generation, when it has a whole key pair of this type; `undefined` when it must be made. */
  #usable(keyId: KeyId, keyType: KeyType): StoredGeneration | undefined {
    const stored = this.#fresh(() => this.#read(keyId))
    if (stored?.publicKey === undefined || !stored.hasPrivateKey) return undefined
    if (stored.keyType === keyType) return stored
    throw new LeafkeeperError('HSM_KEY_EXISTS', {
      message: `Generation ${stored.number ?? ''} of ${this.#agentName} on token "${this.token.label}" has a key pair of type ${stored.keyType ?? 'unknown'}, not ${keyType}.`,
    })
  }

  /** What a crash left without its other half was never used, unless it was certified: then a person decides. */
  #clearHalfMade(keyId: KeyId): void {
    const kinds = new Set(this.#find(keyId)?.objects.map(({ kind }) => kind))
    if (kinds.has('private') && kinds.has('certificate')) {
      throw new LeafkeeperError('HSM_KEY_EXISTS', {
        message: `Token "${this.token.label}" has a certified private key ${keyId} of ${this.#agentName} without its public key; it is not replaced.`,
      })
    }
    this.#destroyAll(keyId)
  }

  #destroyAll(keyId: KeyId): void {
    this.#fresh(() => {
      this.#parts.writer.destroy(() => this.#find(keyId))
    })
  }

  async #caughtUp(): Promise<void> {
    await this.#parts.index.caughtUp(this.#firstReading)
  }

  #generations(): readonly IndexedGeneration[] {
    return this.#parts.index.generations(this.#agentName)
  }

  #find(keyId: KeyId): IndexedGeneration | undefined {
    return this.#generations().find((generation) => generation.keyId === keyId)
  }

  #read(keyId: KeyId): StoredGeneration | undefined {
    return this.#parts.connection.now('read a key', (api, session) => {
      const generation = this.#find(keyId)
      return generation && readGeneration(api, session, generation)
    })
  }

  /** The generation to store certificates beside. */
  #present(keyId: KeyId): PresentGeneration {
    const generation = this.#find(keyId)
    const { publicKey, hasPrivateKey } = this.#read(keyId) ?? {}
    if (generation === undefined || publicKey === undefined || hasPrivateKey !== true)
      return this.#absent(keyId)
    return { ...generation, publicKey }
  }

  #privateKey(keyId: KeyId): IndexedObject {
    return this.#find(keyId)?.objects.find(({ kind }) => kind === 'private') ?? this.#absent(keyId)
  }

  /** Looks once more when the token does not know a remembered object: someone else changed it. */
  #fresh<Result>(work: () => Result): Result {
    try {
      return work()
    } catch (error) {
      if (!isHandleStale(error)) throw error
      this.#parts.index.invalidate()
      return work()
    }
  }

  async #freshLater<Result>(
    doing: string,
    work: (api: PKCS11, session: Handle) => Promise<Result>,
  ): Promise<Result> {
    try {
      return await this.#parts.connection.later(doing, work)
    } catch (error) {
      if (!isHandleStale(error)) throw error
      this.#parts.index.invalidate()
      return await this.#parts.connection.later(doing, work)
    }
  }

  #absent(keyId: KeyId): never {
    throw new LeafkeeperError('HSM_KEY_NOT_FOUND', {
      message: `Token "${this.token.label}" has no key pair of ${this.#agentName} with the id ${keyId}.`,
    })
  }
}
