/** leafkeeper: keeps the leaf key of an Azure IoT device in its HSM, and its certificate fresh. */
export { logAgent } from './agent/agent-log.ts'
export type { AdoptOptions } from './agent/adoption.ts'
export { DeviceAgent } from './agent/agent.ts'
export type { InstalledCertificate, PendingRequest } from './agent/certificate-exchange.ts'
export type { DeviceAgentEvents, RollOptions, RollReport, Transition } from './agent/agent-events.ts'
export { systemClock, type Clock } from './agent/clock.ts'
export type { MethodTable } from './agent/methods.ts'
export type { AgentWatcher, ObservedAgent } from './agent/observed-agent.ts'
export type { DeviceAgentOptions } from './agent/options.ts'
export { defaultPolicy, type PolicyOptions } from './agent/policy.ts'
export type { Percentage, RollScheduleOptions } from './agent/roll-schedule.ts'
export type { Retry } from './agent/retries.ts'
export type { AgentStatus } from './agent/status.ts'
export type { OwnRoll } from './agent/step-schedule.ts'
export type { Duration } from './duration.ts'
export type {
  AgentState,
  Assignment,
  Backoff,
  CertificateFacts,
  Connection,
  Generation,
  Roll,
  RollMode,
} from './agent/states.ts'
export type { RequestAdditions } from './certificate/request.ts'
export type { ConfiguredOptions } from './config/agent-options.ts'
export type { CheckedConfiguration, Configuration } from './config/configuration.ts'
export { configure, loadConfiguration } from './config/load-configuration.ts'
export type { DeviceId, KeyId, Pem, Thumbprint } from './brands.ts'
export type { CredentialAnswer, CredentialChannel, StopListening } from './credential-channel.ts'
export { errorTable } from './error-table.ts'
export { LeafkeeperError, type ErrorCode, type LeafkeeperErrorDetails } from './errors.ts'
export { initialiseToken, type NewToken } from './hsm/initialise-token.ts'
export type {
  HsmSigner,
  KeyProtection,
  KeyStore,
  KeyType,
  StoredGeneration,
  TokenDescription,
} from './hsm/key-store.ts'
export type { HsmCall, HsmOperation } from './hsm/timed-key-store.ts'
export { openToken, type OpenTokenOptions } from './hsm/open-token.ts'
export type { TokenSelector } from './hsm/find-token.ts'
export type { PinSource } from './hsm/pin-source.ts'
export { loadProfile, modulePath, type HsmProfile } from './hsm/profile.ts'
export { prepareSoftHsm } from './hsm/softhsm.ts'
export type { TlsBinding } from './hsm/tls-binding.ts'
export type { HsmToken } from './hsm/token.ts'
export { hubOverMqtt, type HubOptions } from './hub/hub-over-mqtt.ts'
export type {
  DeviceMessage,
  HubConnection,
  HubTarget,
  HubTransport,
  MethodAnswer,
  MethodHandler,
  MethodRequest,
  PreparedHubConnection,
} from './hub/hub-transport.ts'
export type { OutboxOptions } from './hub/outbox.ts'
export { commandIssuer, type CommandIssuerOptions } from './issuer/command-issuer.ts'
export { dpsIssuer, type DpsIssuerOptions } from './issuer/dps-issuer.ts'
export { estIssuer } from './issuer/est-issuer.ts'
export type { CertificateFiles, EstBootstrap, EstIssuerOptions } from './issuer/est-options.ts'
export { folderIssuer, type FolderIssuerOptions } from './issuer/folder-issuer.ts'
export { manualIssuer } from './issuer/manual-issuer.ts'
export { functionIssuer, type IssuerFunctions } from './issuer/function-issuer.ts'
export { hubIssuer, type HubIssuerOptions } from './issuer/hub-issuer.ts'
export { issuerByReason, type IssuersByReason } from './issuer/issuer-by-reason.ts'
export type { IssueAnswer, IssueRequest, Issuer } from './issuer/issuer.ts'
export { jsonLogger, type JsonLoggerOptions } from './log/json-logger.ts'
export type { Logger, LogLevel } from './log/logger.ts'
export { createMetrics, type AgentMetrics } from './metrics/agent-metrics.ts'
export { writeMetrics, type MetricsFile, type MetricsFileOptions } from './metrics/metrics-file.ts'
export { serveMetrics, type MetricsServer } from './metrics/serve-metrics.ts'
export { dpsOverMqtt, type DpsOptions } from './provisioning/dps-over-mqtt.ts'
export type { OnboardingCredential } from './provisioning/onboarding.ts'
export type { ProvisioningService, Registration } from './provisioning/provisioning-service.ts'
export { Secret } from './secret.ts'
export type { NamedSecretSource, SecretSource } from './secret-source.ts'
export type { DeviceCredential } from './transport/credential.ts'
export type { NetworkOptions } from './transport/network.ts'
export type { TokenCertificate } from './transport/token-credential.ts'
