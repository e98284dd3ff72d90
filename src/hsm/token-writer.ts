import { X509Certificate } from 'node:crypto'
import type { Pem } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import { holdFirstPlace, holdPlace } from './held-places.ts'
import { certificateTemplate, keyPairTemplates, offeredKeyTypes } from './key-template.ts'
import type { KeyType } from './key-store.ts'
import { keyTypes } from './key-types.ts'
import { objectLabel } from './object-name.ts'
import type { IndexedGeneration, ObjectIndex, Owner } from './object-index.ts'
import { certificatesInPem } from './pem.ts'
import { ckrName } from './pkcs11-error.ts'
import type { HsmQuirks } from './profile.ts'
import { toPublicKey } from './public-key.ts'
import { checkIdentity, readCertificates } from './stored-generation.ts'
import { hasRoom } from './token-room.ts'
import type { TokenConnection } from './token-connection.ts'

/** The key pair to make. */
export interface NewKeyPair extends Owner {
  readonly keyType: KeyType
}

/** A generation whose key pair is on the token. */
export interface PresentGeneration extends IndexedGeneration {
  readonly publicKey: Uint8Array
}

/**
 * Writes to the token and keeps the index in step. After a failure the token is read again before the next use.
 *
 * Handles are looked up inside each call, by `find`: when a call is repeated after the sessions were lost, those of
 * before may name other objects.
 */
export class TokenWriter {
  readonly #connection: TokenConnection
  readonly #index: ObjectIndex
  readonly #quirks: HsmQuirks

  constructor(connection: TokenConnection, index: ObjectIndex, quirks: HsmQuirks) {
    this.#connection = connection
    this.#index = index
    this.#quirks = quirks
  }

  /**
   * Generates a key pair, when `stillNeeded` says so; it is asked again when the work is repeated after a loss of the
   * sessions, where the first try may have succeeded.
   *
   * @throws LeafkeeperError `HSM_KEY_TYPE_UNSUPPORTED`, `HSM_TOKEN_FULL`, `HSM_DEVICE_ERROR`, `HSM_TOKEN_REMOVED`
   */
  async generate(pair: NewKeyPair, stillNeeded: () => boolean): Promise<void> {
    const { agentName, number, keyId, keyType } = pair
    const name = { keyId, label: objectLabel(agentName, number) }
    this.#checkRoom()
    const { publicKey, privateKey } = keyPairTemplates(keyType, name, this.#quirks.omitAttributes)
    const mechanism = { mechanism: keyTypes[keyType].generation }
    try {
      await this.#connection.later(`generate an ${keyType} key pair`, async (api, session) => {
        if (!stillNeeded()) return
        if (this.#quirks.namesByPlace === true) holdFirstPlace(api, session)
        const handles =
          this.#quirks.generatesAlone === true
            ? api.C_GenerateKeyPair(session, mechanism, publicKey, privateKey)
            : await api.C_GenerateKeyPairAsync(session, mechanism, publicKey, privateKey)
        this.#index.add(pair, { kind: 'private', handle: handles.privateKey })
        this.#index.add(pair, { kind: 'public', handle: handles.publicKey })
      })
    } catch (error) {
      throw this.#failed(error, keyType)
    }
  }

  /**
   * Stores a chain beside its key, the leaf last: a leaf on the token tells that its chain is whole. Certificates
   * that are there stay; older ones go when the new chain is whole.
   *
   * @throws LeafkeeperError `CERT_UNREADABLE`, `CERT_KEY_MISMATCH`, `HSM_TOKEN_FULL`
   */
  storeChain(find: () => PresentGeneration, chain: Pem): void {
    const wanted = certificatesInPem(chain)
    const leaf = wanted[0]
    if (leaf === undefined) {
      throw new LeafkeeperError('CERT_UNREADABLE', { message: 'There is no certificate to store.' })
    }
    const leafKey = publicKeyOf(leaf)
    this.#checkRoom()
    try {
      this.#connection.now('store a certificate', (api, session) => {
        const generation = find()
        const { agentName, keyId, number, objects } = generation
        if (Buffer.compare(leafKey, generation.publicKey) !== 0) {
          throw new LeafkeeperError('CERT_KEY_MISMATCH', {
            message: 'The certificate to store is not for the key pair it would be stored beside.',
          })
        }
        const name = { keyId, label: objectLabel(agentName, number) }
        const stored = readCertificates(api, session, objects)
        const isStored = (der: Buffer): boolean => stored.some((other) => other.der.equals(der))
        for (const der of wanted.toReversed().filter((each) => !isStored(each))) {
          const attributes = certificateTemplate(der, name, this.#quirks.omitAttributes)
          const handle = api.C_CreateObject(session, attributes)
          this.#index.add(generation, { kind: 'certificate', handle })
        }
        for (const { object, der } of stored) {
          if (wanted.some((other) => other.equals(der))) continue
          api.C_DestroyObject(session, object.handle)
          this.#index.remove(generation, object)
          if (this.#quirks.namesByPlace === true) holdPlace(api, session)
        }
      })
    } catch (error) {
      throw this.#failed(error)
    }
  }

  /** Destroys every object of a generation, the private key first. */
  destroy(find: () => IndexedGeneration | undefined): void {
    const order = { private: 0, public: 1, certificate: 2 }
    try {
      this.#connection.now('destroy a key', (api, session) => {
        const generation = find()
        if (generation === undefined) return
        const { keyId, objects } = generation
        for (const object of [...objects].sort((one, other) => order[one.kind] - order[other.kind])) {
          checkIdentity(api, session, object, keyId)
          api.C_DestroyObject(session, object.handle)
          this.#index.remove(generation, object)
          if (this.#quirks.namesByPlace === true) holdPlace(api, session)
        }
      })
    } catch (error) {
      throw this.#failed(error)
    }
  }

  #checkRoom(): void {
    const { storage } = this.#quirks
    if (storage === undefined || hasRoom(storage) !== false) return
    throw new LeafkeeperError('HSM_TOKEN_FULL', {
      message: `The disk under token "${this.#connection.description.label}" is full; nothing was written.`,
    })
  }

  #failed(error: unknown, keyType?: KeyType): unknown {
    this.#index.invalidate()
    const name = ckrName(error)
    if (!(error instanceof LeafkeeperError) || name === undefined) return error
    const { label } = this.#connection.description
    if (keyType === undefined || error.code !== 'HSM_KEY_TYPE_UNSUPPORTED') return error
    const offered = offeredKeyTypes(this.#connection.module.api, this.#connection.slot)
    return new LeafkeeperError('HSM_KEY_TYPE_UNSUPPORTED', {
      message: `Token "${label}" refused to generate an ${keyType} key pair (${name}); it offers ${offered.join(', ') || 'none that leafkeeper uses'}.`,
      cause: error.cause,
      reason: name,
    })
  }
}

function publicKeyOf(der: Buffer): Uint8Array {
  try {
    return toPublicKey(new X509Certificate(der).publicKey).spki
  } catch (cause) {
    throw new LeafkeeperError('CERT_UNREADABLE', {
      message: 'The leaf to store is not a certificate.',
      cause,
    })
  }
}
