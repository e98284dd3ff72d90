/** A local Azure IoT for the official device SDKs: DPS, IoT hubs and test authorities. */
export type { CredentialPolicies, CredentialPolicy } from './adr/credential-policies.ts'
export { SimulatedCloud } from './cloud.ts'
export type { CloudOptions } from './cloud/options.ts'
export type { ClientOptions } from './client-options.ts'
export type { CsrAttribute } from './est/csr-attributes.ts'
export { estUser, type SimulatedEstServer } from './est/est-server.ts'
export type { PendingRequest } from './est/pending-requests.ts'
export type { EstProfile } from './est/profile.ts'
export { ServiceError } from './errors.ts'
export { CloudEvents, type CloudEventMap, type ConnectRefusedEvent, type DeviceEvent } from './events.ts'
export type { Faults } from './faults/faults.ts'
export { faultNames, type FaultName, type FaultSettings, type SetFault } from './faults/names.ts'
export type { GroupAuthentication } from './dps/assignment.ts'
export type { DropPoint } from './dps/device-face.ts'
export type {
  EnrollmentGroup,
  IndividualEnrollment,
  ReprovisionPolicy,
  Stored,
  X509Attestation,
} from './dps/enrollment.ts'
export type { EntryStore } from './dps/entry-store.ts'
export type {
  ProvisioningSnapshot,
  RefusedAnswer,
  SimulatedProvisioningService,
} from './dps/provisioning-service.ts'
export type { DisabledEnrollment } from './dps/registration-desk.ts'
export type { RegistrationAttempt, Registrations, RegistrationState, Substatus } from './dps/registrations.ts'
export type {
  DeviceAuthentication,
  DeviceAuthenticationDescription,
  DeviceDescription,
  DeviceRecord,
  SymmetricKey,
  X509Thumbprint,
} from './hub/device-record.ts'
export type { CloudMessage, CloudMessageOutcome } from './hub/cloud-to-device.ts'
export type { IssuanceFault } from './hub/credentials/issuance.ts'
export type { HubSnapshot } from './hub/hub-snapshot.ts'
export type { DeviceJob, Job, JobStatus } from './hub/jobs/job.ts'
export type { SimulatedHub } from './hub/hub.ts'
export type { OnRecordReplaced } from './hub/hub-parts.ts'
export type { MethodCall, MethodResult } from './hub/methods.ts'
export type { SystemProperties } from './hub/property-bag.ts'
export type { DeviceChange, DeviceRegistry } from './hub/registry.ts'
export type { TelemetryMessage } from './hub/telemetry.ts'
export type { JsonObject } from './hub/json.ts'
export type { Twin, TwinSection } from './hub/twin.ts'
export type { RefusalCode } from './mqtt/session.ts'
export { Portal, type PortalOptions } from './portal/portal.ts'
export { validFor, type Validity } from './pki/certificate-fields.ts'
export { generateKeyFile, type KeyFile, type KeyType } from './pki/keys.ts'
export type { IssuedLeaf, LeafOrder } from './pki/leaf.ts'
export { TestAuthority, type AuthorityOptions } from './pki/test-authority.ts'
export { normalizeThumbprint, thumbprint256 } from './pki/thumbprint.ts'
export type { TrustedAuthorities } from './hub/trusted-authorities.ts'
