import { parseSas } from '../http/sas.ts'
import { ServiceError } from '../errors.ts'
import type { CloudEvents } from '../events.ts'
import type { MqttService, RefusalCode } from '../mqtt/session.ts'
import { CredentialAuthority, type IssuedCredential } from '../pki/credential-authority.ts'
import { thumbprint256 } from '../pki/thumbprint.ts'
import { TrustedAuthorities } from '../pki/trusted-authorities.ts'
import { AccessPolicies } from './access-policies.ts'
import { Alarms } from './alarms.ts'
import { refusalOf, type DoorRules } from './authentication.ts'
import { CloudToDevice, type CloudMessage } from './cloud-to-device.ts'
import type { CredentialAnswer } from './credentials/answer.ts'
import { CredentialOperations } from './credentials/operations.ts'
import { HubDeviceFace } from './device-face.ts'
import type { DeviceRecord } from './device-record.ts'
import type { HubActions, HubSession } from './hub-session.ts'
import type { HubSnapshot } from './hub-snapshot.ts'
import { IssuedCertificates } from './issued-certificates.ts'
import type { Job } from './jobs/job.ts'
import { Jobs } from './jobs/jobs.ts'
import type { JsonObject } from './json.ts'
import { DirectMethods, type MethodCall, type MethodResult } from './methods.ts'
import { DeviceRegistry } from './registry.ts'
import { twinJson } from './service/device-json.ts'
import { SessionStore, type StoredResult } from './session-store.ts'
import { TelemetryLog, type TelemetryMessage } from './telemetry.ts'
import type { DeviceSubscription } from './topics.ts'
import { TwinStore, type StoredTwin, type Twin, type TwinChange } from './twin.ts'

/** What a hub does with a live connection whose certificate no longer fits the device record. */
export type OnRecordReplaced = 'keep-session' | 'cut-session'

/** What a simulated hub is made of. */
export interface HubOptions {
  readonly hostName: string
  readonly onRecordReplaced: OnRecordReplaced
  readonly events: CloudEvents
  /** Milliseconds since 1970. */
  readonly now: () => number
}

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
  /** Where devices of the kind `certificateAuthority` may come from. */
  readonly trustedAuthorities = new TrustedAuthorities()
  /** Who may do what over the REST API. */
  readonly policies = new AccessPolicies()
  /** `$iothub/credentials`, and what can be made to go wrong with it. */
  readonly credentials: CredentialOperations
  readonly jobs: Jobs
  /** The hub's own clock, in milliseconds since 1970. */
  readonly now: () => number
  readonly #events: CloudEvents
  readonly #onRecordReplaced: OnRecordReplaced
  readonly #telemetry: TelemetryLog
  readonly #methods: DirectMethods
  readonly #twins: TwinStore
  readonly #messages: CloudToDevice
  readonly #sessions = new SessionStore()
  readonly #issued = new IssuedCertificates()
  readonly #authority: CredentialAuthority
  readonly #alarms: Alarms
  readonly #tokenEnds = new WeakMap<HubSession, () => void>()
  readonly #face: HubDeviceFace

  constructor(options: HubOptions) {
    this.hostName = options.hostName
    this.now = options.now
    this.#events = options.events
    this.#onRecordReplaced = options.onRecordReplaced
    this.#alarms = new Alarms(options.now)
    this.#twins = new TwinStore(options.now)
    this.#authority = new CredentialAuthority(options.hostName)
    this.registry = new DeviceRegistry(options.now, (before, after) => this.#recordChanged(before, after))
    this.#telemetry = new TelemetryLog(options.hostName, options.now)
    this.#methods = new DirectMethods({
      // The device may know of its CONNACK before this side hears that it is written.
      listens: (deviceId) => this.#face.session(deviceId)?.has('methods') === true,
      send: (deviceId, topic, body) => this.#face.session(deviceId)?.send(topic, body),
    })
    this.#messages = new CloudToDevice(options.now, {
      subscribed: (deviceId) => this.#qosOf(deviceId, 'cloudToDevice'),
      deliver: (deviceId, topic, body, again, acknowledged) => {
        this.#face.session(deviceId)?.deliver('cloudToDevice', topic, body, acknowledged, again)
      },
      ended: (deviceId, messageId, outcome) => {
        this.#events.emit('cloudToDevice', { hub: this.hostName, deviceId, messageId, outcome })
      },
    })
    this.credentials = new CredentialOperations({
      now: options.now,
      alarms: this.#alarms,
      issue: async (deviceId, csr) => this.issueCertificate(deviceId, csr),
      answer: (deviceId, requestId, answer, isFinal) => {
        this.#answerCredentials(deviceId, requestId, answer, isFinal)
      },
    })
    this.jobs = new Jobs({
      now: options.now,
      alarms: this.#alarms,
      rows: () => this.twinRows(),
      perform: async (deviceId, job) => this.#performJob(deviceId, job),
      changed: ({ jobId, status }) => {
        this.#events.emit('jobChanged', { hub: this.hostName, jobId, status })
      },
    })
    this.#face = new HubDeviceFace(
      {
        hostName: this.hostName,
        registry: this.registry,
        sessions: this.#sessions,
        rules: () => this.#rules(),
        refused: (deviceId, code, errorCode, reason) => {
          this.#events.emit('connectRefused', { hub: this.hostName, deviceId, code, errorCode, reason })
        },
      },
      this.#actions(),
    )
  }

  /** The hub as MQTT reaches it. */
  get mqtt(): MqttService {
    return this.#face
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
    return this.#telemetry.messages
  }

  /** Forgets the messages so far; sequence numbers go on. */
  clearMessages(): void {
    this.#telemetry.clear()
  }

  /**
   * Calls a direct method.
   *
   * @throws ServiceError 404001 for an unknown device, 404103 for one that is not connected or does not listen
   * for methods, 504101 for one that does not answer in time
   */
  async invokeMethod(deviceId: string, call: MethodCall): Promise<MethodResult> {
    this.registry.require(deviceId)
    const report = (outcome: number): void => {
      const { methodName } = call
      this.#events.emit('methodCompleted', { hub: this.hostName, deviceId, methodName, outcome })
    }
    try {
      const result = await this.#methods.invoke(deviceId, call)
      report(result.status)
      return result
    } catch (error) {
      if (error instanceof ServiceError) report(error.errorCode)
      throw error
    }
  }

  /** Queues a message for a device. @returns the message id @throws ServiceError 404001, 403004 when the queue is full */
  sendToDevice(deviceId: string, message: CloudMessage): string {
    this.registry.require(deviceId)
    return this.#messages.send(deviceId, message)
  }

  /** How many messages wait for a device, or are on their way to it. */
  messageCount(deviceId: string): number {
    return this.#messages.count(deviceId)
  }

  /** Empties a device's queue. @returns how many messages were in it @throws ServiceError 404001 */
  purgeMessages(deviceId: string): number {
    this.registry.require(deviceId)
    return this.#messages.purge(deviceId)
  }

  /** @throws ServiceError 404001 for an unknown device */
  twin(deviceId: string): Twin {
    this.registry.require(deviceId)
    return this.#twins.get(deviceId)
  }

  /** A twin with its versions, ETag and metadata. @throws ServiceError 404001 for an unknown device */
  storedTwin(deviceId: string): StoredTwin {
    this.registry.require(deviceId)
    return this.#twins.stored(deviceId)
  }

  /** Every device as queries see it. */
  twinRows(): readonly (JsonObject & { readonly deviceId: string })[] {
    return this.registry
      .list()
      .map((record) =>
        twinJson(record, this.#twins.stored(record.deviceId), this.#messages.count(record.deviceId)),
      )
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
    const desired = this.#twins.write(deviceId, change, how, ifMatch)
    this.#events.emit('twinChanged', { hub: this.hostName, deviceId, by: 'service' })
    const session = this.#face.session(deviceId)
    if (desired === undefined || session?.has('desiredProperties') !== true) return
    const topic = `$iothub/twin/PATCH/properties/desired/?$version=${desired.$version}`
    session.send(topic, JSON.stringify(desired))
  }

  /** Puts a twin in place: the one a device had on another hub, or its initial one. What is left out is empty. */
  putTwin(deviceId: string, twin: Partial<Twin>): void {
    this.#twins.put(deviceId, twin)
    this.#events.emit('twinChanged', { hub: this.hostName, deviceId, by: 'service' })
  }

  /**
   * Signs a request with the hub's own test authority, and lets the device in with that leaf from now on.
   *
   * @param csr - PKCS#10: Base64 of the DER
   * @throws RequestRefused, ServiceError 404001
   */
  async issueCertificate(deviceId: string, csr: string): Promise<IssuedCredential> {
    const { generationId } = this.registry.require(deviceId)
    const issued = await this.#authority.issue(csr, deviceId, this.now())
    this.#issued.add({ deviceId, generationId, thumbprint: thumbprint256(issued.leaf) })
    return issued
  }

  /** No longer lets a device in with what the hub has issued to it. @returns how many certificates that concerns */
  revokeIssued(deviceId: string): number {
    return this.#issued.revoke(deviceId)
  }

  /** Cuts the connection of a device. @returns whether it had one */
  disconnect(deviceId: string, reason = 'The hub was asked to cut the connection.'): boolean {
    return this.#face.disconnect(deviceId, reason)
  }

  /** Refuses the next CONNECTs with a code of MQTT 3.1.1: 5 not authorized, 3 server unavailable. */
  refuseNext(code: RefusalCode = 5, times = 1): void {
    this.#face.refusals.arm(code, times)
  }

  /** To be called when an injected clock has jumped: what has become due happens at once. */
  clockChanged(): void {
    this.#alarms.clockChanged()
  }

  /** Everything there is to keep, as JSON: without the telemetry, and without connections. */
  snapshot(): HubSnapshot {
    return {
      policies: this.policies.snapshot(),
      registry: this.registry.snapshot(),
      twins: this.#twins.snapshot(),
      messages: this.#messages.snapshot(),
      sessions: this.#sessions.snapshot(),
      issued: this.#issued.snapshot(),
      operations: this.credentials.snapshot(),
      jobs: this.jobs.snapshot(),
      trustedAuthorities: this.trustedAuthorities.list(),
    }
  }

  /** Puts back what `snapshot` has given; connections are cut. */
  restore(snapshot: HubSnapshot): void {
    for (const { deviceId } of this.registry.list()) this.disconnect(deviceId, 'The hub was restored.')
    this.policies.restore(snapshot.policies)
    this.registry.restore(snapshot.registry)
    this.#twins.restore(snapshot.twins)
    this.#messages.restore(snapshot.messages)
    this.#sessions.restore(snapshot.sessions)
    this.#issued.restore(snapshot.issued)
    this.credentials.restore(snapshot.operations)
    this.jobs.restore(snapshot.jobs)
    for (const pem of snapshot.trustedAuthorities) this.trustedAuthorities.add(pem)
  }

  /** Ends every call and every job that waits. */
  close(): void {
    this.jobs.close()
    this.#methods.close()
    this.#alarms.close()
  }

  #actions(): HubActions {
    return {
      opened: (session) => this.#opened(session),
      closed: (session) => this.#closed(session),
      telemetry: (deviceId, propertyBag, publication) => {
        this.#events.emit('telemetry', this.#telemetry.receive(deviceId, propertyBag, publication))
      },
      listens: (deviceId, subscription) => this.#listens(deviceId, subscription),
      methodAnswered: (deviceId, requestId, status, body) => {
        this.#methods.answered(deviceId, requestId, status, body)
      },
      twin: (deviceId) => this.#twins.get(deviceId),
      twinReported: (deviceId, patch) => {
        const version = this.#twins.report(deviceId, patch)
        this.#events.emit('twinChanged', { hub: this.hostName, deviceId, by: 'device' })
        return version
      },
      certificateRequested: (deviceId, requestId, body) => {
        this.credentials.requested(deviceId, requestId, body)
      },
    }
  }

  #rules(): DoorRules {
    return {
      hostName: this.hostName,
      authorities: this.trustedAuthorities,
      policyKeys: (policyName) => this.policies.keysFor(policyName, ['DeviceConnect']),
      hasIssued: (record, thumbprint) => this.#issued.has(record, thumbprint),
      now: this.now(),
    }
  }

  #opened(session: HubSession): void {
    const { deviceId, credentials } = session
    const { leaf } = credentials.chain
    // What was on its way to an earlier connection waits again.
    this.#messages.disconnected(deviceId)
    this.registry.setConnectionState(deviceId, 'Connected')
    this.#endWithToken(session)
    const thumbprint = leaf === undefined ? '' : thumbprint256(leaf)
    this.#events.emit('deviceConnected', { hub: this.hostName, deviceId, thumbprint })
  }

  /** A connection lives no longer than the token that it began with. */
  #endWithToken(session: HubSession): void {
    const { deviceId, credentials } = session
    const isByToken = this.registry.get(deviceId)?.authentication.type === 'sas'
    const token = credentials.token === undefined || !isByToken ? undefined : parseSas(credentials.token)
    if (token === undefined) return
    const cancel = this.#alarms.at(Number(token.expiry) * 1000, () => {
      if (this.#face.session(deviceId) === session) this.disconnect(deviceId, 'The token has expired.')
    })
    this.#tokenEnds.set(session, cancel)
  }

  #closed(session: HubSession): void {
    const { deviceId, endReason, wasOpen } = session
    this.#tokenEnds.get(session)?.()
    if (!wasOpen) return
    // After a takeover the device is still connected.
    if (this.#face.session(deviceId) === undefined) {
      this.#messages.disconnected(deviceId)
      this.registry.setConnectionState(deviceId, 'Disconnected')
    }
    this.#events.emit('deviceDisconnected', { hub: this.hostName, deviceId, reason: endReason })
  }

  #listens(deviceId: string, subscription: DeviceSubscription): void {
    switch (subscription) {
      case 'methods':
        this.#methods.listens(deviceId)
        return
      case 'cloudToDevice':
        this.#messages.deliver(deviceId)
        return
      case 'credentials':
        for (const result of this.#sessions.get(deviceId)?.results ?? [])
          this.#deliverResult(deviceId, result)
        return
      case 'desiredProperties':
      case 'twinResponses':
        return
    }
  }

  #qosOf(deviceId: string, subscription: DeviceSubscription): 0 | 1 | undefined {
    return this.#face.session(deviceId)?.qosOf(subscription)
  }

  #answerCredentials(deviceId: string, requestId: string, answer: CredentialAnswer, isFinal: boolean): void {
    const { status, body } = answer
    const topic = `$iothub/credentials/res/${status}/?$rid=${requestId}`
    this.#events.emit('credentialAnswered', { hub: this.hostName, deviceId, requestId, status, isFinal })
    // A device that is away gets the end of its operation when it comes back with its session.
    if (isFinal && this.#sessions.keep(deviceId, { topic, body })) {
      this.#deliverResult(deviceId, { topic, body })
    } else if (this.#qosOf(deviceId, 'credentials') !== undefined) {
      this.#face.session(deviceId)?.send(topic, body)
    }
  }

  #deliverResult(deviceId: string, result: StoredResult): void {
    if (this.#qosOf(deviceId, 'credentials') === undefined) return
    this.#face.session(deviceId)?.deliver('credentials', result.topic, result.body, () => {
      this.#sessions.take(deviceId, result)
    })
  }

  async #performJob(deviceId: string, { work }: Job): Promise<JsonObject> {
    switch (work.type) {
      case 'scheduleDeviceMethod':
        return { deviceMethodResponse: await this.invokeMethod(deviceId, work.call) }
      case 'scheduleUpdateTwin':
        this.writeTwin(deviceId, work.change, 'merge')
        return {}
    }
  }

  #recordChanged(before: DeviceRecord, after: DeviceRecord | undefined): void {
    const { deviceId } = before
    if (after === undefined) {
      this.disconnect(deviceId, 'The device was deleted.')
      this.#twins.delete(deviceId)
      this.#sessions.delete(deviceId)
      this.#messages.delete(deviceId)
      this.#issued.revoke(deviceId)
      this.credentials.delete(deviceId)
    } else if (after.status === 'disabled') {
      this.disconnect(deviceId, 'The device was disabled.')
    } else if (this.#onRecordReplaced === 'cut-session') {
      const credentials = this.#face.session(deviceId)?.credentials
      if (credentials === undefined) return
      const refusal = refusalOf(deviceId, after, credentials, this.#rules())
      if (refusal !== undefined)
        this.disconnect(deviceId, `The device record was replaced. ${refusal.reason}`)
    }
  }
}
