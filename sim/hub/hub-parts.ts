import type { CredentialPolicies } from '../adr/credential-policies.ts'
import { CertificateStore } from '../certificates/certificate-store.ts'
import type { CloudEvents } from '../events.ts'
import { AccessPolicies } from './access-policies.ts'
import { Alarms } from './alarms.ts'
import type { DoorRules } from './authentication.ts'
import { CloudToDevice } from './cloud-to-device.ts'
import { DeviceCredentials } from './credentials/device-credentials.ts'
import { DeviceConnections, type DeviceTalk } from './device-connections.ts'
import type { DeviceRecord } from './device-record.ts'
import { DeviceTwins } from './device-twins.ts'
import type { HubSession } from './hub-session.ts'
import type { Job } from './jobs/job.ts'
import { Jobs } from './jobs/jobs.ts'
import type { JsonObject } from './json.ts'
import { DirectMethods } from './methods.ts'
import { DeviceRegistry } from './registry.ts'
import { twinJson } from './service/device-json.ts'
import { SessionStore } from './session-store.ts'
import { TelemetryLog } from './telemetry.ts'
import type { DeviceSubscription } from './topics.ts'
import { TrustedAuthorities } from './trusted-authorities.ts'

/** What a hub does with a live connection whose certificate no longer fits the device record. */
export type OnRecordReplaced = 'keep-session' | 'cut-session'

/** What a simulated hub is made of. */
export interface HubOptions {
  readonly hostName: string
  readonly onRecordReplaced: OnRecordReplaced
  /** By which certificates are issued to its devices. */
  readonly credentialPolicies: CredentialPolicies
  readonly events: CloudEvents
  /** Milliseconds since 1970. */
  readonly now: () => number
}

/**
 * The parts of one hub, and what they tell each other: what devices say goes to the part that it concerns, and a
 * changed device record reaches all of them.
 */
export class HubParts {
  readonly policies = new AccessPolicies()
  /** Authorities by name, verified or not. */
  readonly certificates: CertificateStore
  /** The same, as those who have verified them already see it. */
  readonly trustedAuthorities: TrustedAuthorities
  readonly registry: DeviceRegistry
  readonly connections: DeviceConnections
  /** Sessions that outlive a connection. */
  readonly sessions = new SessionStore()
  readonly telemetry: TelemetryLog
  readonly methods: DirectMethods
  readonly twins: DeviceTwins
  readonly messages: CloudToDevice
  readonly credentials: DeviceCredentials
  readonly jobs: Jobs
  readonly alarms: Alarms
  readonly #options: HubOptions

  constructor(options: HubOptions) {
    const { hostName, events, now } = options
    this.#options = options
    const alarms = new Alarms(now)
    const registry = new DeviceRegistry(now, (before, after) => this.#recordChanged(before, after))
    const session = (deviceId: string): HubSession | undefined => this.connections.session(deviceId)
    this.alarms = alarms
    this.certificates = new CertificateStore(now)
    this.trustedAuthorities = new TrustedAuthorities(this.certificates)
    this.registry = registry
    this.telemetry = new TelemetryLog(hostName, now)
    this.methods = new DirectMethods({
      // The device may know of its CONNACK before this side hears that it is written.
      listens: (deviceId) => session(deviceId)?.has('methods') === true,
      send: (deviceId, topic, body) => session(deviceId)?.send(topic, body),
      completed: (deviceId, methodName, outcome) => {
        events.emit('methodCompleted', { hub: hostName, deviceId, methodName, outcome })
      },
    })
    this.twins = new DeviceTwins({
      hostName,
      events,
      now,
      tellDesired: (deviceId, topic, body) => {
        if (session(deviceId)?.has('desiredProperties') === true) session(deviceId)?.send(topic, body)
      },
    })
    this.messages = new CloudToDevice(now, {
      subscribed: (deviceId) => session(deviceId)?.qosOf('cloudToDevice'),
      deliver: (deviceId, topic, body, again, acknowledged) => {
        session(deviceId)?.deliver('cloudToDevice', topic, body, acknowledged, again)
      },
      ended: (deviceId, messageId, outcome) => {
        events.emit('cloudToDevice', { hub: hostName, deviceId, messageId, outcome })
      },
    })
    const shared = { hostName, registry, sessions: this.sessions, alarms, events }
    this.credentials = new DeviceCredentials({
      ...shared,
      policies: options.credentialPolicies,
      now,
      session,
    })
    this.jobs = new Jobs({
      now,
      alarms,
      rows: () => this.twinRows(),
      perform: async (deviceId, job) => this.#performJob(deviceId, job),
      changed: ({ jobId, status }) => {
        events.emit('jobChanged', { hub: hostName, jobId, status })
      },
    })
    this.connections = new DeviceConnections({
      ...shared,
      rules: () => this.#rules(),
      interrupted: (deviceId) => this.messages.disconnected(deviceId),
      talk: this.#talk(),
    })
  }

  /** Every device as queries see it. */
  twinRows(): readonly (JsonObject & { readonly deviceId: string })[] {
    return this.registry
      .list()
      .map((record) =>
        twinJson(record, this.twins.stored(record.deviceId), this.messages.count(record.deviceId)),
      )
  }

  /** What the hub goes by at this moment. */
  #rules(): DoorRules {
    return {
      hostName: this.#options.hostName,
      authorities: this.trustedAuthorities,
      policyKeys: (policyName) => this.policies.keysFor(policyName, ['DeviceConnect']),
      wasIssued: (record, chain) => this.credentials.accepts(record, chain),
      now: this.#options.now(),
    }
  }

  /** Who is told what devices say. */
  #talk(): DeviceTalk {
    const { events } = this.#options
    return {
      telemetry: (deviceId, propertyBag, publication) => {
        events.emit('telemetry', this.telemetry.receive(deviceId, propertyBag, publication))
      },
      listens: (deviceId, subscription) => this.#listens(deviceId, subscription),
      methodAnswered: (deviceId, requestId, status, body) => {
        this.methods.answered(deviceId, requestId, status, body)
      },
      twin: (deviceId) => this.twins.get(deviceId),
      twinReported: (deviceId, patch) => this.twins.report(deviceId, patch),
      certificateRequested: (deviceId, requestId, body) => {
        this.credentials.requested(deviceId, requestId, body)
      },
    }
  }

  #listens(deviceId: string, subscription: DeviceSubscription): void {
    switch (subscription) {
      case 'methods':
        this.methods.listens(deviceId)
        return
      case 'cloudToDevice':
        this.messages.deliver(deviceId)
        return
      case 'credentials':
        this.credentials.listens(deviceId)
        return
      case 'desiredProperties':
      case 'twinResponses':
        return
    }
  }

  async #performJob(deviceId: string, { work }: Job): Promise<JsonObject> {
    this.registry.require(deviceId)
    switch (work.type) {
      case 'scheduleDeviceMethod':
        return { deviceMethodResponse: await this.methods.invoke(deviceId, work.call) }
      case 'scheduleUpdateTwin':
        this.twins.write(deviceId, work.change, 'merge')
        return {}
    }
  }

  #recordChanged(before: DeviceRecord, after: DeviceRecord | undefined): void {
    const { deviceId } = before
    if (after === undefined) {
      this.connections.disconnect(deviceId, 'The device was deleted.')
      this.twins.delete(deviceId)
      this.sessions.delete(deviceId)
      this.messages.delete(deviceId)
      this.credentials.delete(deviceId)
    } else if (after.status === 'disabled') {
      this.connections.disconnect(deviceId, 'The device was disabled.')
    } else if (this.#options.onRecordReplaced === 'cut-session') {
      this.connections.disconnectUnlessAllowed(after)
    }
  }
}
