import { createHash, randomBytes, X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { ServiceError } from '../errors.ts'
import type { CloudEvents } from '../events.ts'
import { Next } from '../faults/next.ts'
import { generateKeyFile } from '../pki/keys.ts'
import { PresentedChain } from '../pki/presented-chain.ts'
import { TestAuthority, type StoredAuthority } from '../pki/test-authority.ts'
import type { Pkcs10CertificateRequest } from '../pki/x509.ts'
import { certsOnly } from './certs-only.ts'
import { challengePassword, encodeCsrAttributes, requireKey } from './csr-attributes.ts'
import { Enrollees, type EnrolleesSnapshot } from './enrollees.ts'
import { readEnrollmentRequest, requireLink } from './enrollment-request.ts'
import { PendingRequests, type PendingRequest } from './pending-requests.ts'
import { completeProfile, type EstProfile } from './profile.ts'

/** Everything that an EST server keeps: JSON, with the keys of its authorities. */
export interface EstSnapshot {
  readonly password: string
  readonly profiles: readonly EstProfile[]
  readonly enrollees: EnrolleesSnapshot
  readonly pending: readonly PendingRequest[]
  readonly authority?: StoredAuthority
}

/** A POST, as it came. */
export interface Enrollment {
  readonly operation: 'simpleenroll' | 'simplereenroll'
  readonly label: string
  readonly body: Buffer
  readonly authorization: string | undefined
  readonly socket: TLSSocket
}

/** What an enrolment is answered with: certs-only in Base64, or when to come back. */
export type EnrollmentAnswer =
  | { readonly kind: 'issued'; readonly message: string }
  | { readonly kind: 'pending'; readonly retryAfter: string }

/** The user that is there from the beginning. */
export const estUser = 'estuser'

const day = 24 * 60 * 60 * 1000

/**
 * An RFC 7030 server, with the clarifications of RFC 8951, on a test authority of its own: a root, and an intermediate
 * that issues. It answers under `/.well-known/est` of every address of the cloud.
 *
 * @example
 * ```ts
 * cloud.est.put({ label: 'weekly', validityDays: 7, approval: 'manual' })
 * cloud.est.addUser('device-1', 'a password')
 * // ... POST https://localhost:PORT/.well-known/est/weekly/simpleenroll is answered by 202 ...
 * cloud.est.approve()
 * ```
 */
export class SimulatedEstServer {
  /** The password of `estuser`, made by chance. */
  password = randomBytes(12).toString('base64url')
  /** What the next answers are wrong in: they certify a key that nobody has asked for, or are no message at all. */
  readonly mistakes = new Next<'other-key' | 'garbage'>()
  readonly #events: CloudEvents
  readonly #now: () => number
  readonly #profiles = new Map<string, EstProfile>()
  readonly #enrollees = new Enrollees()
  readonly #pending = new PendingRequests()
  readonly #stuck = new Set<string>()
  #stickNext = 0
  #stored: StoredAuthority | undefined
  #made: Promise<TestAuthority> | undefined

  /** @param now - milliseconds since 1970 */
  constructor(events: CloudEvents, now: () => number) {
    this.#events = events
    this.#now = now
    this.put({ label: '' })
    this.addUser(estUser, this.password)
  }

  /** The authority that issues, with its chain; its root is what DPS or a group is to know. */
  authority(): Promise<TestAuthority> {
    this.#made ??= this.#stored === undefined ? this.#createAuthority() : TestAuthority.restore(this.#stored)
    return this.#made
  }

  /** Adds a label, or changes what is done under it. @throws RangeError that says what was expected */
  put(profile: Partial<EstProfile> & Pick<EstProfile, 'label'>): EstProfile {
    const complete = completeProfile(profile, this.#profiles.get(profile.label))
    this.#profiles.set(complete.label, complete)
    return complete
  }

  profiles(): readonly EstProfile[] {
    return [...this.#profiles.values()]
  }

  /** Lets a user enrol by HTTP Basic. @throws RangeError for a name that Basic cannot carry */
  addUser(name: string, password: string): void {
    this.#enrollees.addUser(name, password)
  }

  /** Lets whoever has a certificate below this authority (PEM) enrol for the first time: a manufacturer's, for one. */
  trust(authority: string): void {
    this.#enrollees.trust(authority)
  }

  /** Lets nobody enrol by this certificate any more. @param thumbprint - SHA-256, upper-case hex */
  revoke(thumbprint: string): void {
    this.#enrollees.revoke(thumbprint)
  }

  /** The requests that wait, and those that were decided and not asked for again. */
  get pending(): readonly PendingRequest[] {
    return this.#pending.list()
  }

  /** Issues to a request, or to all that wait, when it comes again. @throws RangeError without such a request */
  approve(id?: string): void {
    this.#pending.decide('approved', id)
  }

  /** Refuses a request, or all that wait, when it comes again. @throws RangeError without such a request */
  reject(id?: string): void {
    this.#pending.decide('rejected', id)
  }

  /** The authority with those above it. @throws ServiceError 404 */
  async cacerts(label: string): Promise<string> {
    this.#profile(label)
    return certsOnly([(await this.authority()).chain])
  }

  /** `CsrAttrs` in Base64; `undefined` where nothing is asked for. @throws ServiceError 404 */
  csrattrs(label: string): string | undefined {
    const { attributes } = this.#profile(label)
    return attributes.length === 0 ? undefined : encodeCsrAttributes(attributes).toString('base64')
  }

  /** @throws ServiceError 400, 401, 403, 404 */
  async enroll(enrollment: Enrollment): Promise<EnrollmentAnswer> {
    const { operation, label, socket } = enrollment
    const tell = (status: number, commonName?: string, thumbprint?: string): void =>
      void this.#events.emit('estAnswered', { operation, label, status, commonName, thumbprint })
    let commonName: string | undefined
    try {
      const profile = this.#profile(label)
      const presented = PresentedChain.of(socket)
      if (operation === 'simpleenroll')
        this.#enrollees.admit(enrollment.authorization, presented, this.#now())
      const request = await readEnrollmentRequest(enrollment.body)
      commonName = request.subjectName.getField('CN')[0]
      const { certificate } = await this.authority()
      if (operation === 'simplereenroll')
        this.#enrollees.admitAgain(request, presented, new X509Certificate(certificate), this.#now())
      requireLink(request, socket, profile.attributes.includes(challengePassword))
      requireKey(request, profile.attributes)
      if (this.#isHeld(request, profile)) {
        tell(202, commonName)
        return { kind: 'pending', retryAfter: this.#retryAfter(profile) }
      }
      const { message, thumbprint } = await this.#issue(request, profile)
      tell(200, commonName, thumbprint)
      return { kind: 'issued', message }
    } catch (error) {
      tell(error instanceof ServiceError ? error.status : 500, commonName)
      throw error
    }
  }

  /** Promises the next certificates, which come after `unstick`. */
  stick(times: number): void {
    this.#stickNext = times
  }

  /** Keeps all promises. */
  unstick(): void {
    this.#stickNext = 0
    for (const id of this.#stuck) if (this.#pending.decisionOn(id) !== undefined) this.approve(id)
    this.#stuck.clear()
  }

  snapshot(): EstSnapshot {
    return {
      password: this.password,
      profiles: this.profiles(),
      enrollees: this.#enrollees.snapshot(),
      pending: this.#pending.list(),
      ...(this.#stored === undefined ? {} : { authority: this.#stored }),
    }
  }

  restore({ password, profiles, enrollees, pending, authority }: EstSnapshot): void {
    this.password = password
    this.#profiles.clear()
    for (const profile of profiles) this.#profiles.set(profile.label, profile)
    this.#enrollees.restore(enrollees)
    this.#pending.restore(pending)
    this.#stored = authority
    this.#made = undefined
  }

  #profile(label: string): EstProfile {
    const profile = this.#profiles.get(label)
    if (profile !== undefined) return profile
    throw new ServiceError(404, 404000, `There is no label "${label}" at this EST server.`)
  }

  /** Whether the certificate is not to be had yet. @throws ServiceError 403 when it was refused */
  #isHeld(request: Pkcs10CertificateRequest, { label, approval }: EstProfile): boolean {
    const id = requestId(label, request)
    switch (this.#pending.decisionOn(id)) {
      case 'waiting':
        return true
      case 'rejected':
        this.#pending.forget(id)
        throw new ServiceError(403, 403000, 'The request was refused by whoever decides on it.')
      case 'approved':
        this.#pending.forget(id)
        return false
      case undefined: {
        const isStuck = this.#stickNext > 0
        if (approval === 'automatic' && !isStuck) return false
        if (isStuck) {
          this.#stickNext -= 1
          this.#stuck.add(id)
        }
        this.#pending.add({ id, label, commonName: request.subjectName.getField('CN')[0] ?? '' })
        return true
      }
    }
  }

  #retryAfter({ retryAfterSeconds, retryAfterForm }: EstProfile): string {
    return retryAfterForm === 'seconds'
      ? String(retryAfterSeconds)
      : new Date(this.#now() + retryAfterSeconds * 1000).toUTCString()
  }

  async #issue(
    request: Pkcs10CertificateRequest,
    { validityDays }: EstProfile,
  ): Promise<{ readonly message: string; readonly thumbprint?: string }> {
    const mistake = this.mistakes.take()
    if (mistake === 'garbage') return { message: randomBytes(300).toString('base64') }
    const authority = await this.authority()
    const now = this.#now()
    const { certificate, thumbprint } = await authority.issueLeaf({
      csr: request.toString('pem'),
      ...(mistake === undefined ? {} : { publicKey: (await generateKeyFile()).publicKey }),
      notBefore: new Date(now - day),
      notAfter: new Date(now + validityDays * day),
    })
    // Only what was issued (RFC 7030, 4.2.3); what is above it comes with cacerts.
    return { message: certsOnly([certificate]), thumbprint }
  }

  async #createAuthority(): Promise<TestAuthority> {
    const root = await TestAuthority.createRoot({ commonName: 'EST root' })
    const authority = await root.createIntermediate({ commonName: 'EST issuer' })
    this.#stored = authority.stored()
    return authority
  }
}

function requestId(label: string, request: Pkcs10CertificateRequest): string {
  return createHash('sha256')
    .update(`${label}\0`)
    .update(Buffer.from(request.subjectName.toArrayBuffer()))
    .update(Buffer.from(request.publicKey.rawData))
    .digest('hex')
    .slice(0, 16)
}
