import { randomBytes } from 'node:crypto'
import type { CredentialPolicies } from '../adr/credential-policies.ts'
import { IssuanceGate } from '../adr/issuance-gate.ts'
import { ServiceError } from '../errors.ts'
import type { CloudEvents } from '../events.ts'
import { Next } from '../faults/next.ts'
import type { HttpApp } from '../http/http-front.ts'
import type { SimulatedHub } from '../hub/hub.ts'
import type { MqttService } from '../mqtt/session.ts'
import { errorAnswer, type Answer } from './answer.ts'
import type { GroupAuthentication } from './assignment.ts'
import { CertificateStore, type NamedCertificate } from '../certificates/certificate-store.ts'
import { vouchFor } from './certificates/vouch.ts'
import { completeEnrollment, completeGroup, requirePolicy } from './complete-entry.ts'
import { dpsDeviceApp } from './device-app.ts'
import { DpsDeviceFace, type Caller, type DropPoint } from './device-face.ts'
import { eitherApp } from './either-app.ts'
import type { EnrollmentGroup, IndividualEnrollment, Stored } from './enrollment.ts'
import { EntryStore } from './entry-store.ts'
import { RateLimit, type ProvisioningLimits } from './limits.ts'
import { LinkedHubs } from './linked-hubs.ts'
import { RegistrationDesk, type DisabledEnrollment } from './registration-desk.ts'
import { Registrations, type RegistrationAttempt, type RegistrationState } from './registrations.ts'
import type { DeviceRequest } from './request.ts'
import { dpsServiceApp } from './service/service-app.ts'
import { TpmChallenges } from './tpm/challenges.ts'

/** An answer to give in place of the right one. */
export interface RefusedAnswer {
  /** As HTTP has them: 401, 429, 500 ... */
  readonly status: number
  readonly errorCode: number
  readonly message?: string
  /** Seconds. */
  readonly retryAfter?: number
}

const policyName = 'provisioningserviceowner'

/** The state of a DPS, as JSON. */
export interface ProvisioningSnapshot {
  readonly policyKeys: readonly [string, string]
  readonly enrollments: readonly Stored<IndividualEnrollment>[]
  readonly groups: readonly Stored<EnrollmentGroup>[]
  readonly registrations: readonly RegistrationState[]
  readonly certificates: readonly NamedCertificate[]
  readonly linkedHubs: ReturnType<LinkedHubs['snapshot']>
}

/** What a simulated DPS is made of. */
export interface ProvisioningServiceOptions {
  readonly idScope: string
  /** Of the service API, as in `leafkeeper.azure-devices-provisioning.net`. */
  readonly hostName: string
  readonly hubs: readonly SimulatedHub[]
  readonly credentialPolicies: CredentialPolicies
  readonly groupAuthentication: GroupAuthentication
  readonly disabledEnrollment: DisabledEnrollment
  readonly retryAfterSeconds: number
  readonly events: CloudEvents
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/**
 * The Device Provisioning Service.
 *
 * @example
 * ```ts
 * cloud.dps.enrollments.put({ registrationId: 'device-1', attestation: { primary: old, secondary: new } })
 * const { outcome } = await cloud.waitFor('registration', (attempt) => attempt.registrationId === 'device-1')
 * ```
 */
export class SimulatedProvisioningService {
  readonly enrollments: EntryStore<IndividualEnrollment>
  readonly groups: EntryStore<EnrollmentGroup>
  /** DPS as HTTP reaches it: the device API and the service API. */
  readonly http: HttpApp
  readonly registrations = new Registrations()
  /** Authorities by name, verified or not. */
  readonly certificates: CertificateStore
  readonly linkedHubs: LinkedHubs
  /** The host name of the service API. */
  readonly hostName: string
  /** What holds up the certificates it issues. */
  readonly issuance: IssuanceGate
  /** What it takes; may be changed at any time. */
  limits: ProvisioningLimits = {}
  readonly #options: ProvisioningServiceOptions
  readonly #attempts: RegistrationAttempt[] = []
  readonly #refusals = new Next<RefusedAnswer>()
  readonly #drops = new Next<DropPoint>()
  readonly #face: DpsDeviceFace
  readonly #desk: RegistrationDesk
  readonly #deviceRate: RateLimit
  readonly #serviceRate: RateLimit
  #policyKeys = [newKey(), newKey()] as readonly [string, string]

  constructor(options: ProvisioningServiceOptions) {
    const { now, hubs, groupAuthentication, idScope, credentialPolicies } = options
    this.#options = options
    this.hostName = options.hostName
    this.certificates = new CertificateStore(now)
    this.linkedHubs = new LinkedHubs(hubs)
    this.issuance = new IssuanceGate(now)
    this.enrollments = new EntryStore({
      idOf: ({ registrationId }) => registrationId,
      complete: (entry, before) => {
        requirePolicy(entry, credentialPolicies)
        return completeEnrollment(entry, before)
      },
      quota: () => this.limits.enrollments ?? Infinity,
      check: () => undefined,
      takenElsewhere: (thumbprint) =>
        this.groups.find(({ thumbprints }) => thumbprints.has(thumbprint))?.stored.enrollmentGroupId,
      now,
    })
    this.groups = new EntryStore({
      idOf: ({ enrollmentGroupId }) => enrollmentGroupId,
      vouch: (group) => vouchFor(group, this.certificates),
      complete: (group, before) => {
        requirePolicy(group, credentialPolicies)
        return completeGroup(group, before, this.certificates)
      },
      quota: () => this.limits.groups ?? Infinity,
      check: (certificate, what) => {
        if (!certificate.ca) {
          throw new Error(`${what}: expected the certificate of an authority, got "${certificate.subject}".`)
        }
      },
      takenElsewhere: (thumbprint) =>
        this.enrollments.find(({ thumbprints }) => thumbprints.has(thumbprint))?.stored.registrationId,
      now,
    })
    const { enrollments, groups, certificates, registrations, linkedHubs } = this
    const challenges = new TpmChallenges()
    this.#desk = new RegistrationDesk({
      ...options,
      entries: { enrollments, groups, certificates, tpmKey: (id) => challenges.keyOf(id) },
      assignment: { linkedHubs, groupAuthentication, now, registrations },
      challenges,
      issue: async (policyName, csr, registrationId) => {
        await this.issuance.pass()
        return credentialPolicies.issue(policyName, csr, registrationId, now())
      },
      attempted: (attempt) => {
        this.#attempts.push(attempt)
        options.events.emit('registration', attempt)
      },
    })
    this.#deviceRate = new RateLimit(now, () => this.limits.deviceRequestsPerMinute)
    this.#serviceRate = new RateLimit(now, () => this.limits.serviceRequestsPerMinute)
    const respond = (request: DeviceRequest, caller: Caller): Answer => this.#respond(request, caller)
    this.#face = new DpsDeviceFace(respond, this.#drops)
    const device = dpsDeviceApp({ respond, drops: this.#drops, now })
    const service = dpsServiceApp({
      idScope,
      hostName: this.hostName,
      enrollments,
      groups,
      registrations,
      keysOf: (policy) => (policy === policyName ? this.#policyKeys : []),
      takeTurn: () => this.#serviceRate.take(),
      now,
    })
    this.http = eitherApp(service, device)
  }

  /** What `azure-iot-provisioning-service` is given. */
  get connectionString(): string {
    return `HostName=${this.hostName};SharedAccessKeyName=${policyName};SharedAccessKey=${this.#policyKeys[0]}`
  }

  /** Everything that has to outlive a restart, as JSON. */
  snapshot(): ProvisioningSnapshot {
    return {
      policyKeys: this.#policyKeys,
      enrollments: this.enrollments.snapshot(),
      groups: this.groups.snapshot(),
      registrations: this.registrations.snapshot(),
      certificates: this.certificates.snapshot(),
      linkedHubs: this.linkedHubs.snapshot(),
    }
  }

  /** Puts a snapshot in the place of everything. Operations that were under way are forgotten. */
  restore(snapshot: ProvisioningSnapshot): void {
    this.#policyKeys = snapshot.policyKeys
    this.certificates.restore(snapshot.certificates)
    this.enrollments.restore(snapshot.enrollments)
    this.groups.restore(snapshot.groups)
    this.registrations.restore(snapshot.registrations)
    this.linkedHubs.restore(snapshot.linkedHubs)
  }

  /** DPS as MQTT reaches it. */
  get mqtt(): MqttService {
    return this.#face
  }

  /** Every registration that was decided on, in order. Polls and faults do not count. */
  get attempts(): readonly RegistrationAttempt[] {
    return this.#attempts
  }

  /** How often a device was assigned to a hub. */
  registrationCount(registrationId: string): number {
    const id = registrationId.toLowerCase()
    return this.#attempts.filter(
      (one) => one.outcome === 'assigned' && one.registrationId.toLowerCase() === id,
    ).length
  }

  /** Gives the next requests (registrations and polls) this answer, without looking at them. */
  refuseNext(answer: RefusedAnswer, times = 1): void {
    this.#refusals.arm(answer, times)
  }

  /**
   * Drops the connection at the next occasions: when a device connects, when its request has come, or when the
   * work is done and the answer is due.
   */
  dropNext(times = 1, at: DropPoint = 'request'): void {
    this.#drops.arm(at, times)
  }

  /** Takes back all faults that have not come to pass. */
  stopFaults(): void {
    this.#refusals.disarm()
    this.#drops.disarm()
  }

  /** To be called when an injected clock has jumped: what has become due happens at once. */
  clockChanged(): void {
    this.issuance.clockChanged()
  }

  /** Ends everything that waits. */
  close(): void {
    this.issuance.close()
  }

  #respond(request: DeviceRequest, caller: Caller): Answer {
    const { now } = this.#options
    const fault = this.#refusals.take()
    if (fault !== undefined) {
      const { status, errorCode, message = 'A fault was asked for.', retryAfter } = fault
      return errorAnswer(new ServiceError(status, errorCode, message), now(), retryAfter)
    }
    try {
      this.#deviceRate.take()
    } catch (error) {
      if (error instanceof ServiceError) return errorAnswer(error, now(), error.retryAfter)
      throw error
    }
    return this.#desk.answer(request, caller)
  }
}

function newKey(): string {
  return randomBytes(64).toString('base64')
}
