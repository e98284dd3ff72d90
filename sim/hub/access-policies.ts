import { newKey } from './device-record.ts'

/** What a shared access policy allows. */
export type Permission = 'RegistryRead' | 'RegistryWrite' | 'ServiceConnect' | 'DeviceConnect'

/** A shared access policy, with its two keys in Base64: JSON. */
export interface AccessPolicy {
  readonly name: string
  readonly primaryKey: string
  readonly secondaryKey: string
  readonly permissions: readonly Permission[]
}

const everyHub: Readonly<Record<string, readonly Permission[]>> = {
  iothubowner: ['RegistryRead', 'RegistryWrite', 'ServiceConnect', 'DeviceConnect'],
  service: ['ServiceConnect'],
  device: ['DeviceConnect'],
  registryRead: ['RegistryRead'],
  registryReadWrite: ['RegistryRead', 'RegistryWrite'],
}

/** The shared access policies of one hub: those that every hub of Azure is made with. */
export class AccessPolicies {
  #policies: readonly AccessPolicy[] = Object.entries(everyHub).map(([name, permissions]) => ({
    name,
    primaryKey: newKey(),
    secondaryKey: newKey(),
    permissions,
  }))

  /** @throws RangeError when there is none of that name */
  get(name: string): AccessPolicy {
    const policy = this.#policies.find((candidate) => candidate.name === name)
    if (policy !== undefined) return policy
    const known = this.#policies.map((candidate) => candidate.name).join(', ')
    throw new RangeError(`There is no policy "${name}": expected one of ${known}.`)
  }

  /** The keys of a policy if it allows any of these; empty otherwise. */
  keysFor(name: string | undefined, anyOf: readonly Permission[]): readonly string[] {
    const policy = this.#policies.find((candidate) => candidate.name === name)
    return policy?.permissions.some((permission) => anyOf.includes(permission)) === true
      ? [policy.primaryKey, policy.secondaryKey]
      : []
  }

  snapshot(): readonly AccessPolicy[] {
    return this.#policies
  }

  restore(policies: readonly AccessPolicy[]): void {
    this.#policies = policies
  }
}
