import type { CloudEvents } from '../../events.ts'
import { CredentialAuthority, type IssuedCredential } from '../../pki/credential-authority.ts'
import { thumbprint256 } from '../../pki/thumbprint.ts'
import type { Alarms } from '../alarms.ts'
import type { DeviceRecord } from '../device-record.ts'
import type { HubSession } from '../hub-session.ts'
import { IssuedCertificates, type IssuedCertificate } from '../issued-certificates.ts'
import type { DeviceRegistry } from '../registry.ts'
import type { SessionStore, StoredResult } from '../session-store.ts'
import type { CredentialAnswer } from './answer.ts'
import { CredentialOperations, type CredentialOperation } from './operations.ts'

/** What the hub's own certificates need of it. */
export interface CredentialSurroundings {
  readonly hostName: string
  readonly registry: DeviceRegistry
  readonly sessions: SessionStore
  readonly alarms: Alarms
  readonly events: CloudEvents
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** The connection of a device, if it has one. */
  readonly session: (deviceId: string) => HubSession | undefined
}

/** The certificates that a hub issues to its devices itself: asked for, signed, handed over, trusted, revoked. */
export class DeviceCredentials {
  readonly operations: CredentialOperations
  readonly #hub: CredentialSurroundings
  readonly #issued = new IssuedCertificates()
  readonly #authority: CredentialAuthority

  constructor(hub: CredentialSurroundings) {
    this.#hub = hub
    this.#authority = new CredentialAuthority(hub.hostName)
    this.operations = new CredentialOperations({
      now: hub.now,
      alarms: hub.alarms,
      issue: async (deviceId, csr) => this.issue(deviceId, csr),
      answer: (deviceId, requestId, answer, isFinal) => this.#answer(deviceId, requestId, answer, isFinal),
    })
  }

  /** Signs, and trusts the leaf for that device from then on. @throws RequestRefused, ServiceError 404001 */
  async issue(deviceId: string, csr: string): Promise<IssuedCredential> {
    const { generationId } = this.#hub.registry.require(deviceId)
    const issued = await this.#authority.issue(csr, deviceId, this.#hub.now())
    this.#issued.add({ deviceId, generationId, thumbprint: thumbprint256(issued.leaf) })
    return issued
  }

  /** Whether a leaf was issued to this very device. */
  hasIssued(record: DeviceRecord, thumbprint: string): boolean {
    return this.#issued.has(record, thumbprint)
  }

  /** @returns how many certificates that concerns */
  revoke(deviceId: string): number {
    return this.#issued.revoke(deviceId)
  }

  /** The device listens for answers from now on: it gets the results that wait for it. */
  listens(deviceId: string): void {
    for (const result of this.#hub.sessions.get(deviceId)?.results ?? []) this.#deliver(deviceId, result)
  }

  /** The device is gone, and with it what it was issued and what it has asked for. */
  delete(deviceId: string): void {
    this.#issued.revoke(deviceId)
    this.operations.delete(deviceId)
  }

  snapshot(): {
    readonly issued: readonly IssuedCertificate[]
    readonly operations: readonly CredentialOperation[]
  } {
    return { issued: this.#issued.snapshot(), operations: this.operations.snapshot() }
  }

  restore({ issued, operations }: ReturnType<DeviceCredentials['snapshot']>): void {
    this.#issued.restore(issued)
    this.operations.restore(operations)
  }

  #answer(deviceId: string, requestId: string, answer: CredentialAnswer, isFinal: boolean): void {
    const { hostName, events, sessions, session } = this.#hub
    const { status, body } = answer
    const topic = `$iothub/credentials/res/${status}/?$rid=${requestId}`
    events.emit('credentialAnswered', { hub: hostName, deviceId, requestId, status, isFinal })
    // A device that is away gets the end of its operation when it comes back with its session.
    if (isFinal && sessions.keep(deviceId, { topic, body })) {
      this.#deliver(deviceId, { topic, body })
    } else if (session(deviceId)?.qosOf('credentials') !== undefined) {
      session(deviceId)?.send(topic, body)
    }
  }

  #deliver(deviceId: string, result: StoredResult): void {
    const session = this.#hub.session(deviceId)
    if (session?.qosOf('credentials') === undefined) return
    session.deliver('credentials', result.topic, result.body, () => {
      this.#hub.sessions.take(deviceId, result)
    })
  }
}
