import type { IssuedCredential } from '../adr/credential-policies.ts'
import type { CertificateStore } from '../certificates/certificate-store.ts'
import type { MqttService, RefusalCode } from '../mqtt/session.ts'
import type { AccessPolicies } from './access-policies.ts'
import type { CloudMessage } from './cloud-to-device.ts'
import type { CredentialOperations } from './credentials/operations.ts'
import { HubParts, type HubOptions } from './hub-parts.ts'
import type { HubSnapshot } from './hub-snapshot.ts'
import type { IssuedLeaf } from './issued-certificates.ts'
import type { Jobs } from './jobs/jobs.ts'
import type { JsonObject } from './json.ts'
import type { MethodCall, MethodResult } from './methods.ts'
import type { DeviceRegistry } from './registry.ts'
import type { TelemetryMessage } from './telemetry.ts'
import type { TrustedAuthorities } from './trusted-authorities.ts'
import type { StoredTwin, Twin, TwinChange } from './twin.ts'

/**
 * An IoT hub.
 *
 * @example
 * ```ts
 * const hub = cloud.hub('hub-a')
 * hub.registry.create({
 *   deviceId: 'device-1',
 *   authentication: { type: 'selfSigned', x509Thumbprint: { primaryThumbprint: leaf.thumbprint, secondaryThumbprint: null } },
 * })
 * const { status, payload } = await hub.invokeMethod('device-1', { methodName: 'reprovision' })
 * ```
 */
export class SimulatedHub {
  readonly hostName: string
  readonly registry: DeviceRegistry
  /** Authorities by name, verified or not. */
  readonly certificates: CertificateStore
  /** Those of them that are verified: where devices of the kind `certificateAuthority` may come from. */
  readonly trustedAuthorities: TrustedAuthorities
  /** Who may do what over the REST API. */
  readonly policies: AccessPolicies
  /** `$iothub/credentials`, and what can be made to go wrong with it. */
  readonly credentials: CredentialOperations
  readonly jobs: Jobs
  /** The hub's own clock, in milliseconds since 1970. */
  readonly now: () => number
  readonly #parts: HubParts

  constructor(options: HubOptions) {
    const parts = new HubParts(options)
    this.#parts = parts
    this.hostName = options.hostName
    this.now = options.now
    this.registry = parts.registry
    this.certificates = parts.certificates
    this.trustedAuthorities = parts.trustedAuthorities
    this.policies = parts.policies
    this.credentials = parts.credentials.operations
    this.jobs = parts.jobs
  }

  /** The hub as MQTT reaches it. */
  get mqtt(): MqttService {
    return this.#parts.connections.mqtt
  }

  /** What `azure-iothub` is given: `HostName=...;SharedAccessKeyName=iothubowner;SharedAccessKey=...`. */
  get connectionString(): string {
    return this.connectionStringFor('iothubowner')
  }

  /** The same under another policy: `service`, `device`, `registryRead`, `registryReadWrite`. */
  connectionStringFor(policyName: string): string {
    const { primaryKey } = this.policies.get(policyName)
    return `HostName=${this.hostName};SharedAccessKeyName=${policyName};SharedAccessKey=${primaryKey}`
  }

  /**
   * What a device SDK is given: with the primary key for a device that has keys, else with `x509=true`.
   *
   * @throws ServiceError 404001 for an unknown device
   */
  deviceConnectionString(deviceId: string): string {
    const { authentication } = this.registry.require(deviceId)
    const key = authentication.symmetricKey?.primaryKey
    const proof = typeof key === 'string' ? `SharedAccessKey=${key}` : 'x509=true'
    return `HostName=${this.hostName};DeviceId=${deviceId};${proof}`
  }

  /** Every message that has arrived, in order; one that was sent twice stands here twice. */
  get messages(): readonly TelemetryMessage[] {
    return this.#parts.telemetry.messages
  }

  /** Forgets the messages so far; sequence numbers go on. */
  clearMessages(): void {
    this.#parts.telemetry.clear()
  }

  /**
   * Calls a direct method.
   *
   * @throws ServiceError 404001 for an unknown device, 404103 for one that is not connected or does not listen
   * for methods, 504101 for one that does not answer in time
   */
  async invokeMethod(deviceId: string, call: MethodCall): Promise<MethodResult> {
    this.registry.require(deviceId)
    return this.#parts.methods.invoke(deviceId, call)
  }

  /** Queues a message for a device. @returns the message id @throws ServiceError 404001, 403004 when the queue is full */
  sendToDevice(deviceId: string, message: CloudMessage): string {
    this.registry.require(deviceId)
    return this.#parts.messages.send(deviceId, message)
  }

  /** How many messages wait for a device, or are on their way to it. */
  messageCount(deviceId: string): number {
    return this.#parts.messages.count(deviceId)
  }

  /** Empties a device's queue. @returns how many messages were in it @throws ServiceError 404001 */
  purgeMessages(deviceId: string): number {
    this.registry.require(deviceId)
    return this.#parts.messages.purge(deviceId)
  }

  /** @throws ServiceError 404001 for an unknown device */
  twin(deviceId: string): Twin {
    this.registry.require(deviceId)
    return this.#parts.twins.get(deviceId)
  }

  /** A twin with its versions, ETag and metadata. @throws ServiceError 404001 for an unknown device */
  storedTwin(deviceId: string): StoredTwin {
    this.registry.require(deviceId)
    return this.#parts.twins.stored(deviceId)
  }

  /** Every device as queries see it. */
  twinRows(): readonly (JsonObject & { readonly deviceId: string })[] {
    return this.#parts.twinRows()
  }

  /** Changes what is wanted of a device, and tells it. @throws ServiceError 404001 for an unknown device */
  updateDesired(deviceId: string, patch: JsonObject): void {
    this.writeTwin(deviceId, { desired: patch }, 'merge')
  }

  /**
   * Changes tags and desired properties, and tells the device of the latter.
   *
   * @param ifMatch - an ETag, or `*`
   * @throws ServiceError 404001 for an unknown device, 412 for another version, 400 when it would be too large
   */
  writeTwin(deviceId: string, change: TwinChange, how: 'merge' | 'replace', ifMatch?: string): void {
    this.registry.require(deviceId)
    this.#parts.twins.write(deviceId, change, how, ifMatch)
  }

  /** Puts a twin in place: the one a device had on another hub, or its initial one. What is left out is empty. */
  putTwin(deviceId: string, twin: Partial<Twin>): void {
    this.#parts.twins.put(deviceId, twin)
  }

  /**
   * Signs a request by the credential policy of the device, and lets it in with that leaf from now on.
   *
   * @param csr - PKCS#10: Base64 of the DER
   * @throws RequestRefused, ServiceError 404001
   */
  async issueCertificate(deviceId: string, csr: string): Promise<IssuedCredential> {
    return this.#parts.credentials.issue(deviceId, csr)
  }

  /** Lets a device in with a leaf that DPS has issued to it. @throws ServiceError 404001 */
  trustIssued(deviceId: string, issued: IssuedLeaf): void {
    this.#parts.credentials.trust(deviceId, issued)
  }

  /** What the service has issued to a device and was not revoked. */
  issuedTo(deviceId: string): readonly IssuedLeaf[] {
    return this.#parts.credentials.issuedTo(deviceId)
  }

  /** No longer lets a device in with what the service has issued to it. @returns how many certificates that concerns */
  revokeIssued(deviceId: string): number {
    return this.#parts.credentials.revoke(deviceId)
  }

  /** Cuts the connection of a device. @returns whether it had one */
  disconnect(deviceId: string, reason = 'The hub was asked to cut the connection.'): boolean {
    return this.#parts.connections.disconnect(deviceId, reason)
  }

  /** Refuses the next CONNECTs with a code of MQTT 3.1.1: 5 not authorized, 3 server unavailable. */
  refuseNext(code: RefusalCode = 5, times = 1): void {
    this.#parts.connections.refuseNext(code, times)
  }

  /** To be called when an injected clock has jumped: what has become due happens at once. */
  clockChanged(): void {
    this.#parts.alarms.clockChanged()
  }

  /** Everything there is to keep, as JSON: without the telemetry, and without connections. */
  snapshot(): HubSnapshot {
    return {
      policies: this.policies.snapshot(),
      registry: this.registry.snapshot(),
      twins: this.#parts.twins.snapshot(),
      messages: this.#parts.messages.snapshot(),
      sessions: this.#parts.sessions.snapshot(),
      ...this.#parts.credentials.snapshot(),
      jobs: this.jobs.snapshot(),
      certificates: this.certificates.snapshot(),
    }
  }

  /** Puts back what `snapshot` has given; connections are cut. */
  restore(snapshot: HubSnapshot): void {
    for (const { deviceId } of this.registry.list()) this.disconnect(deviceId, 'The hub was restored.')
    this.policies.restore(snapshot.policies)
    this.registry.restore(snapshot.registry)
    this.#parts.twins.restore(snapshot.twins)
    this.#parts.messages.restore(snapshot.messages)
    this.#parts.sessions.restore(snapshot.sessions)
    this.#parts.credentials.restore(snapshot)
    this.jobs.restore(snapshot.jobs)
    this.certificates.restore(snapshot.certificates)
  }

  /** Ends every call and every job that waits. */
  close(): void {
    this.jobs.close()
    this.#parts.methods.close()
    this.#parts.alarms.close()
  }
}
