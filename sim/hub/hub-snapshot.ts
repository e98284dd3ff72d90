import type { NamedCertificate } from '../certificates/certificate-store.ts'
import type { AccessPolicy } from './access-policies.ts'
import type { QueuedMessage } from './cloud-to-device.ts'
import type { CredentialOperation } from './credentials/operations.ts'
import type { CredentialResult } from './credentials/results.ts'
import type { IssuedCertificate } from './issued-certificates.ts'
import type { JobsSnapshot } from './jobs/jobs.ts'
import type { RegistrySnapshot } from './registry.ts'
import type { StoredSession } from './session-store.ts'
import type { StoredTwin } from './twin.ts'

/** Everything that one hub keeps: JSON. */
export interface HubSnapshot {
  readonly policies: readonly AccessPolicy[]
  readonly registry: RegistrySnapshot
  readonly twins: Readonly<Record<string, StoredTwin>>
  readonly messages: Readonly<Record<string, readonly QueuedMessage[]>>
  readonly sessions: Readonly<Record<string, StoredSession>>
  readonly issued: readonly IssuedCertificate[]
  readonly operations: readonly CredentialOperation[]
  readonly results: readonly CredentialResult[]
  readonly jobs: JobsSnapshot
  readonly certificates: readonly NamedCertificate[]
}
