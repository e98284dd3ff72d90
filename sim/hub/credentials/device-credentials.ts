import {
  defaultPolicyName,
  type CredentialPolicies,
  type IssuedCredential,
} from '../../adr/credential-policies.ts'
import type { CloudEvents } from '../../events.ts'
import type { PresentedChain } from '../../pki/presented-chain.ts'
import { thumbprint256 } from '../../pki/thumbprint.ts'
import type { Alarms } from '../alarms.ts'
import type { DeviceRecord } from '../device-record.ts'
import type { HubSession } from '../hub-session.ts'
import { IssuedCertificates, type IssuedCertificate, type IssuedLeaf } from '../issued-certificates.ts'
import type { DeviceRegistry } from '../registry.ts'
import type { CredentialAnswer } from './answer.ts'
import { CredentialOperations, type CredentialOperation } from './operations.ts'
import { CredentialResults, type CredentialResult } from './results.ts'

/** What certificates that the service issues need of their hub. */
export interface CredentialSurroundings {
  readonly hostName: string
  readonly registry: DeviceRegistry
  readonly policies: CredentialPolicies
  readonly alarms: Alarms
  readonly events: CloudEvents
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** The connection of a device, if it has one. */
  readonly session: (deviceId: string) => HubSession | undefined
}

/** The certificates that the service itself issues to a hub's devices: asked for, signed, handed over, trusted, revoked. */
export class DeviceCredentials {
  readonly operations: CredentialOperations
  readonly #hub: CredentialSurroundings
  readonly #issued = new IssuedCertificates()
  readonly #results: CredentialResults

  constructor(hub: CredentialSurroundings) {
    this.#hub = hub
    this.#results = new CredentialResults(hub.now)
    this.operations = new CredentialOperations({
      now: hub.now,
      alarms: hub.alarms,
      issue: async (deviceId, csr) => this.issue(deviceId, csr),
      began: (deviceId) => this.#results.delete(deviceId),
      answer: (deviceId, requestId, answer) => this.#answer(deviceId, requestId, answer),
      ended: ({ deviceId, requestId, expiresAt }, answer) =>
        this.#end(deviceId, requestId, answer, expiresAt),
    })
  }

  /** A device has asked for a certificate; one that does not listen for answers is not heard. */
  requested(deviceId: string, requestId: string, body: Buffer): void {
    if (this.#listening(deviceId) !== undefined) this.operations.requested(deviceId, requestId, body)
  }

  /**
   * Signs by the policy of the device's last certificate, and trusts the leaf for that device from then on.
   *
   * @throws RequestRefused, ServiceError 404001
   */
  async issue(deviceId: string, csr: string): Promise<IssuedCredential> {
    const { policies, registry, now } = this.#hub
    const policyName = this.#issued.policyOf(registry.require(deviceId)) ?? defaultPolicyName
    const issued = await policies.issue(policyName, csr, deviceId, now())
    this.trust(deviceId, issued)
    return issued
  }

  /** Lets a device in with a leaf that was issued to it. @throws ServiceError 404001 */
  trust(deviceId: string, { thumbprint, policyName }: IssuedLeaf): void {
    const { generationId } = this.#hub.registry.require(deviceId)
    this.#issued.add({ deviceId, generationId, thumbprint, policyName })
  }

  /** What a device was issued and is in force; nothing for one that is not there. */
  issuedTo(deviceId: string): readonly IssuedLeaf[] {
    const record = this.#hub.registry.get(deviceId)
    const issued = record === undefined ? [] : this.#issued.of(record)
    return issued.map(({ thumbprint, policyName }) => ({ thumbprint, policyName }))
  }

  /** Whether the leaf was issued to this very device, by an authority that the hub has been told of. */
  accepts(record: DeviceRecord, chain: PresentedChain): boolean {
    const { leaf } = chain
    if (leaf === undefined || !this.#issued.has(record, thumbprint256(leaf))) return false
    return this.#hub.policies.vouchesFor(chain)
  }

  /** @returns how many certificates that concerns */
  revoke(deviceId: string): number {
    return this.#issued.revoke(deviceId)
  }

  /** The device listens for answers from now on: it gets the result that waits for it. */
  listens(deviceId: string): void {
    const result = this.#results.get(deviceId)
    if (result !== undefined) this.#deliver(result)
  }

  /** The device is gone, and with it what it was issued and what it has asked for. */
  delete(deviceId: string): void {
    this.#issued.revoke(deviceId)
    this.operations.delete(deviceId)
    this.#results.delete(deviceId)
  }

  snapshot(): {
    readonly issued: readonly IssuedCertificate[]
    readonly operations: readonly CredentialOperation[]
    readonly results: readonly CredentialResult[]
  } {
    return {
      issued: this.#issued.snapshot(),
      operations: this.operations.snapshot(),
      results: this.#results.snapshot(),
    }
  }

  restore({ issued, operations, results }: ReturnType<DeviceCredentials['snapshot']>): void {
    this.#issued.restore(issued)
    this.operations.restore(operations)
    this.#results.restore(results)
  }

  #answer(deviceId: string, requestId: string, answer: CredentialAnswer): void {
    this.#report(deviceId, requestId, answer, false)
    this.#listening(deviceId)?.send(topicOf(requestId, answer), answer.body)
  }

  #end(deviceId: string, requestId: string, answer: CredentialAnswer, expiresAt: number): void {
    this.#report(deviceId, requestId, answer, true)
    const result = { deviceId, topic: topicOf(requestId, answer), body: answer.body, expiresAt }
    this.#results.keep(result)
    this.#deliver(result)
  }

  #report(deviceId: string, requestId: string, { status }: CredentialAnswer, isFinal: boolean): void {
    const { hostName, events } = this.#hub
    events.emit('credentialAnswered', { hub: hostName, deviceId, requestId, status, isFinal })
  }

  #deliver(result: CredentialResult): void {
    this.#listening(result.deviceId)?.deliver('credentials', result.topic, result.body, () => {
      this.#results.take(result)
    })
  }

  /** The connection of a device, if it hears what is answered. */
  #listening(deviceId: string): HubSession | undefined {
    const session = this.#hub.session(deviceId)
    return session?.qosOf('credentials') === undefined ? undefined : session
  }
}

function topicOf(requestId: string, { status }: CredentialAnswer): string {
  return `$iothub/credentials/res/${status}/?$rid=${requestId}`
}
