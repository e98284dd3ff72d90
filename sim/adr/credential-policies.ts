import { Next } from '../faults/next.ts'
import { readCertificate } from '../pki/certificate.ts'
import { generateKeyFile } from '../pki/keys.ts'
import { hasSigned, type PresentedChain } from '../pki/presented-chain.ts'
import { TestAuthority, type StoredAuthority } from '../pki/test-authority.ts'
import { decodeCertificateRequest, requireProofOfPossession, RequestRefused } from './certificate-request.ts'

/** How certificates are issued to devices. */
export interface CredentialPolicy {
  /** As enrollments name it, in `credentialPolicyName`; the same in either case. */
  readonly name: string
  /** How long a leaf is valid: 7 to 90 days. */
  readonly validityDays: number
  /** Whether hubs know its authority; until they do, they refuse its leaves. */
  readonly isSynced: boolean
}

/** A policy with the authority that signs for it, once it has one: JSON. */
export interface StoredPolicy extends CredentialPolicy {
  readonly authority?: StoredAuthority
}

/** What a policy has signed, each certificate as PEM: the leaf, the policy's own authority, and the root. */
export interface IssuedCredential {
  readonly policyName: string
  readonly leaf: string
  /** Of the leaf, SHA-256. */
  readonly thumbprint: string
  readonly authorities: readonly string[]
}

/** The policy that is there from the beginning. */
export const defaultPolicyName = 'default'

const leastDays = 7
const mostDays = 90
const day = 24 * 60 * 60 * 1000

/**
 * The credential policies of the Azure Device Registry namespace that DPS and all hubs of a cloud share. Each has an
 * issuing authority of its own (ECC P-384), under one root for the namespace.
 *
 * @example
 * ```ts
 * cloud.credentialPolicies.put({ name: 'weekly', validityDays: 7 })
 * cloud.dps.enrollments.put({ registrationId: 'device-1', attestation, credentialPolicyName: 'weekly' })
 * ```
 */
export class CredentialPolicies {
  /** What the next certificates are wrong in: they certify a key that nobody has asked for. */
  readonly mistakes = new Next<'other-key'>()
  readonly #policies = new Map<string, StoredPolicy>()
  readonly #authorities = new Map<string, Promise<TestAuthority>>()
  #root: Promise<TestAuthority> | undefined
  #storedRoot: StoredAuthority | undefined

  constructor() {
    this.put({ name: defaultPolicyName, validityDays: 30 })
  }

  /**
   * Creates a policy, or changes how long its leaves are valid from now on.
   *
   * @param order - `isSynced: false` leaves the hubs without its authority until {@link sync}. Default `true`
   * @throws RangeError for a name or a validity that Azure does not take
   */
  put(order: Omit<CredentialPolicy, 'isSynced'> & { readonly isSynced?: boolean }): CredentialPolicy {
    const { name, validityDays } = order
    if (!/^[A-Za-z0-9][A-Za-z0-9-]{0,61}[A-Za-z0-9]$/.test(name)) {
      throw new RangeError(`A credential policy: expected 2 to 63 letters, digits and dashes, got "${name}".`)
    }
    if (!Number.isInteger(validityDays) || validityDays < leastDays || validityDays > mostDays) {
      throw new RangeError(
        `The credential policy "${name}": expected validityDays from ${leastDays} to ${mostDays}, got ${validityDays}.`,
      )
    }
    const before = this.#policies.get(keyOf(name))
    const policy = { ...before, name, validityDays, isSynced: order.isSynced ?? before?.isSynced ?? true }
    this.#policies.set(keyOf(name), policy)
    return described(policy)
  }

  get(name: string): CredentialPolicy | undefined {
    const policy = this.#policies.get(keyOf(name))
    return policy === undefined ? undefined : described(policy)
  }

  list(): readonly CredentialPolicy[] {
    return [...this.#policies.values()].map(described)
  }

  /** Removes a policy with its authority: hubs refuse what it has issued. @returns whether there was one */
  delete(name: string): boolean {
    this.#authorities.delete(keyOf(name))
    return this.#policies.delete(keyOf(name))
  }

  /** Tells every hub of every authority, as `az iot adr ns credential sync` does. */
  sync(): void {
    for (const [key, policy] of this.#policies) this.#policies.set(key, { ...policy, isSynced: true })
  }

  /**
   * Signs a request.
   *
   * @param csr - PKCS#10: Base64 of the DER, without PEM armour
   * @param now - milliseconds since 1970, from when on the leaf is valid (less a day, for clocks that differ)
   * @throws RequestRefused when it cannot be read, proves no possession or names another device, or without the policy
   */
  async issue(policyName: string, csr: string, deviceId: string, now: number): Promise<IssuedCredential> {
    const request = decodeCertificateRequest(csr, deviceId)
    await requireProofOfPossession(request)
    const policy = this.#policies.get(keyOf(policyName))
    if (policy === undefined) {
      throw new RequestRefused('PolicyNotFound', `There is no credential policy "${policyName}".`)
    }
    const issuer = await this.#authorityOf(policy)
    const mistake = this.mistakes.take()
    const { certificate, thumbprint } = await issuer.issueLeaf({
      csr: request.toString('pem'),
      ...(mistake === undefined ? {} : { publicKey: (await generateKeyFile()).publicKey }),
      notBefore: new Date(now - day),
      notAfter: new Date(now + policy.validityDays * day),
    })
    const authorities = splitPem(issuer.chain)
    return { policyName: policy.name, leaf: certificate, thumbprint, authorities }
  }

  /** Whether the leaf was signed by an authority that hubs have been told of. */
  vouchesFor({ leaf }: PresentedChain): boolean {
    return [...this.#policies.values()].some(
      ({ authority, isSynced }) =>
        isSynced &&
        authority !== undefined &&
        hasSigned(readCertificate(authority.certificate, 'The authority of a policy'), leaf),
    )
  }

  snapshot(): { readonly policies: readonly StoredPolicy[]; readonly root?: StoredAuthority } {
    const policies = [...this.#policies.values()]
    return this.#storedRoot === undefined ? { policies } : { policies, root: this.#storedRoot }
  }

  restore({ policies, root }: ReturnType<CredentialPolicies['snapshot']>): void {
    this.#policies.clear()
    this.#authorities.clear()
    for (const policy of policies) this.#policies.set(keyOf(policy.name), policy)
    this.#storedRoot = root
    this.#root = undefined
  }

  #authorityOf(policy: StoredPolicy): Promise<TestAuthority> {
    const key = keyOf(policy.name)
    const known = this.#authorities.get(key)
    if (known !== undefined) return known
    const made =
      policy.authority === undefined ? this.#create(policy) : TestAuthority.restore(policy.authority)
    this.#authorities.set(key, made)
    return made
  }

  async #create({ name }: StoredPolicy): Promise<TestAuthority> {
    this.#root ??= this.#rootAuthority()
    const root = await this.#root
    const authority = await root.createIntermediate({ commonName: `credentials ${name}`, keyType: 'P-384' })
    const policy = this.#policies.get(keyOf(name))
    if (policy !== undefined) {
      this.#policies.set(keyOf(name), { ...policy, authority: authority.stored() })
    }
    return authority
  }

  async #rootAuthority(): Promise<TestAuthority> {
    if (this.#storedRoot !== undefined) return TestAuthority.restore(this.#storedRoot)
    const root = await TestAuthority.createRoot({ commonName: 'credentials root', keyType: 'P-384' })
    this.#storedRoot = root.stored()
    return root
  }
}

/** Base64 of the DER of a certificate in PEM. */
export function derOf(pem: string): string {
  return readCertificate(pem, 'An issued certificate').raw.toString('base64')
}

function keyOf(name: string): string {
  return name.toLowerCase()
}

function described({ name, validityDays, isSynced }: StoredPolicy): CredentialPolicy {
  return { name, validityDays, isSynced }
}

function splitPem(chain: string): readonly string[] {
  return chain.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----\n?/g) ?? []
}
