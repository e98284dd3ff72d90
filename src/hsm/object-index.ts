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

/** All objects of one generation. */
export interface IndexedGeneration {
  readonly keyId: KeyId
  readonly number: number
  readonly objects: readonly IndexedObject[]
}

type Agent = Map<KeyId, { number: number; objects: IndexedObject[] }>

/**
 * Which objects on a token are whose. Modules look through every object for each search (SoftHSM 2.6.1: 20 ms with
 * 400 generations, whatever is asked), so the token is read once for many agents, and the index follows our writes.
 *
 * Only handles are remembered; values are read from the token each time. A handle that the token does not know any
 * more tells that someone else changed it: the caller then calls {@link invalidate} and asks again.
 */
export class ObjectIndex {
  readonly #connection: TokenConnection
  readonly #agents = new Map<string, Agent>()
  #reading = 0
  #valid = false

  constructor(connection: TokenConnection) {
    this.#connection = connection
    connection.onReopened(() => {
      this.invalidate()
    })
  }

  /** Stands for "now": an index read before it may miss what an earlier process wrote. */
  get upcomingReading(): number {
    return this.#reading + 1
  }

  /** Reads the token again before the next answer. */
  invalidate(): void {
    this.#valid = false
  }

  /** The generations of one agent, lowest number first, by a reading of the token not older than `since`. */
  generations(agentName: string, since: number): readonly IndexedGeneration[] {
    this.#read(since)
    return [...(this.#agents.get(agentName) ?? [])]
      .map(([keyId, { number, objects }]) => ({ keyId, number, objects }))
      .sort((one, other) => one.number - other.number)
  }

  /** The private key with this id, whichever agent's it is, by any reading of the token. */
  privateKey(keyId: KeyId): Handle | undefined {
    this.#read(0)
    for (const agent of this.#agents.values()) {
      const found = agent.get(keyId)?.objects.find(({ kind }) => kind === 'private')
      if (found !== undefined) return found.handle
    }
    return undefined
  }

  /** Follows an object that was just written. */
  add(agentName: string, number: number, keyId: KeyId, object: IndexedObject): void {
    const agent = this.#agents.get(agentName) ?? (new Map() as Agent)
    this.#agents.set(agentName, agent)
    const generation = agent.get(keyId) ?? { number, objects: [] }
    agent.set(keyId, generation)
    generation.objects.push(object)
  }

  /** Follows an object that was just destroyed. */
  remove(agentName: string, keyId: KeyId, object: IndexedObject): void {
    const agent = this.#agents.get(agentName)
    const generation = agent?.get(keyId)
    if (agent === undefined || generation === undefined) return
    generation.objects = generation.objects.filter((other) => other.handle !== object.handle)
    if (generation.objects.length === 0) agent.delete(keyId)
  }

  #read(since: number): void {
    if (this.#valid && this.#reading >= since) return
    this.#connection.now('read the objects', (api, session) => {
      this.#agents.clear()
      for (const handle of findObjects(api, session, [])) this.#place(api, session, handle)
    })
    this.#reading += 1
    this.#valid = true
  }

  #place(api: PKCS11, session: Handle, handle: Handle): void {
    const values = describe(api, session, handle)
    if (values === undefined) return
    const kind = kinds.get(toNumber(values.CKA_CLASS))
    const owner = readObjectLabel(values.CKA_LABEL.toString('utf8'))
    if (kind === undefined || owner === undefined || values.CKA_ID.length === 0) return
    this.add(owner.agentName, owner.number, values.CKA_ID.toString('hex') as KeyId, { kind, handle })
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
