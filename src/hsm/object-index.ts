import { setImmediate } from 'node:timers/promises'
import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import type { KeyId } from '../brands.ts'
import { findObjects, readAttributes, toNumber } from './attributes.ts'
import { readObjectLabel } from './object-name.ts'
import { ckrName } from './pkcs11-error.ts'
import type { TokenConnection } from './token-connection.ts'

/** An object of one generation. */
export interface IndexedObject {
  readonly kind: 'private' | 'public' | 'certificate'
  readonly handle: Handle
}

/** Whose an object is. */
export interface Owner {
  readonly agentName: string
  readonly number: number
  readonly keyId: KeyId
}

/** All objects of one generation. */
export interface IndexedGeneration extends Owner {
  readonly objects: readonly IndexedObject[]
}

/**
 * Which objects on a token are whose. Modules look through every object for each search (SoftHSM 2.6.1: 20 ms with
 * 400 generations, whatever is asked for), so one reading serves many agents, and the index follows our own writes.
 *
 * Only handles are remembered; values are read from the token each time. A handle that the token does not know any
 * more tells that someone else changed it: the caller then calls {@link invalidate} and asks again.
 */
export class ObjectIndex {
  readonly #connection: TokenConnection
  readonly #agents = new Map<string, Map<KeyId, IndexedGeneration>>()
  /** Every object of the last reading, by its handle as hexadecimal; those that are no agent's too. */
  #known = new Set<string>()
  #readings = 0
  #valid = false
  #upcoming: Promise<void> | undefined

  constructor(connection: TokenConnection) {
    this.#connection = connection
    connection.onReopened(() => {
      this.invalidate()
    })
  }

  /** Names the next reading: an earlier one may miss what another process wrote until now. */
  get upcomingReading(): number {
    return this.#readings + 1
  }

  /** Sees to it that the reading took place; many who ask at a time share one. */
  async caughtUp(reading: number): Promise<void> {
    if (this.#readings >= reading) return
    this.#upcoming ??= setImmediate().then(() => {
      this.#upcoming = undefined
      this.#read()
    })
    await this.#upcoming
  }

  /** Reads the whole token again before the next answer. */
  invalidate(): void {
    this.#valid = false
  }

  /** The generations of one agent, lowest number first. */
  generations(agentName: string): readonly IndexedGeneration[] {
    if (!this.#valid) this.#read()
    return [...(this.#agents.get(agentName)?.values() ?? [])].sort((one, other) => one.number - other.number)
  }

  /** The private key with this id, whichever agent's it is. */
  privateKey(keyId: KeyId): Handle | undefined {
    if (!this.#valid) this.#read()
    for (const generations of this.#agents.values()) {
      const found = generations.get(keyId)?.objects.find(({ kind }) => kind === 'private')
      if (found !== undefined) return found.handle
    }
    return undefined
  }

  /** Follows an object that was just written. */
  add({ agentName, number, keyId }: Owner, object: IndexedObject): void {
    this.#known.add(object.handle.toString('hex'))
    const generations = this.#agents.get(agentName) ?? new Map<KeyId, IndexedGeneration>()
    this.#agents.set(agentName, generations)
    const generation = generations.get(keyId) ?? { agentName, number, keyId, objects: [] }
    generations.set(keyId, { ...generation, objects: [...generation.objects, object] })
  }

  /** Follows an object that was just destroyed. */
  remove({ agentName, keyId }: Owner, { handle }: IndexedObject): void {
    this.#known.delete(handle.toString('hex'))
    this.#keep(agentName, keyId, (other) => !other.handle.equals(handle))
  }

  /** Reads what is new since the last reading; everything, after {@link invalidate}. */
  #read(): void {
    this.#connection.now('read the objects', (api, session) => {
      const handles = findObjects(api, session, [])
      const present = new Set(handles.map((handle) => handle.toString('hex')))
      const before = this.#valid ? this.#known : new Set<string>()
      for (const { agentName, keyId } of [...this.#agents.values()].flatMap((each) => [...each.values()])) {
        this.#keep(agentName, keyId, ({ handle }) => {
          const key = handle.toString('hex')
          return before.has(key) && present.has(key)
        })
      }
      this.#known = present
      for (const handle of handles) {
        if (!before.has(handle.toString('hex'))) this.#place(api, session, handle)
      }
      this.#valid = true
    })
    this.#readings += 1
  }

  #keep(agentName: string, keyId: KeyId, isKept: (object: IndexedObject) => boolean): void {
    const generations = this.#agents.get(agentName)
    const generation = generations?.get(keyId)
    if (generations === undefined || generation === undefined) return
    const objects = generation.objects.filter(isKept)
    if (objects.length === 0) generations.delete(keyId)
    else generations.set(keyId, { ...generation, objects })
  }

  #place(api: PKCS11, session: Handle, handle: Handle): void {
    const values = describe(api, session, handle)
    if (values === undefined) return
    const kind = kinds.get(toNumber(values.CKA_CLASS))
    const owner = readObjectLabel(values.CKA_LABEL.toString('utf8'))
    if (kind === undefined || owner === undefined || values.CKA_ID.length === 0) return
    this.add({ ...owner, keyId: values.CKA_ID.toString('hex') as KeyId }, { kind, handle })
  }
}

const kinds = new Map<number, IndexedObject['kind']>([
  [pkcs11.CKO_PRIVATE_KEY, 'private'],
  [pkcs11.CKO_PUBLIC_KEY, 'public'],
  [pkcs11.CKO_CERTIFICATE, 'certificate'],
])

/** `undefined` for an object without an id (data, hardware features), or one that vanished since it was found. */
function describe(
  api: PKCS11,
  session: Handle,
  handle: Handle,
): Record<'CKA_CLASS' | 'CKA_LABEL' | 'CKA_ID', Buffer> | undefined {
  try {
    return readAttributes(api, session, handle, ['CKA_CLASS', 'CKA_LABEL', 'CKA_ID'])
  } catch (thrown) {
    if (/^CKR_(ATTRIBUTE_TYPE_INVALID|OBJECT_HANDLE_INVALID)$/.test(ckrName(thrown) ?? '')) return undefined
    throw thrown
  }
}
