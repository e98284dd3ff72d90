import type { DeviceAgentOptions } from '../agent/options.ts'
import { completePolicy, defaultPolicy, type PolicyOptions } from '../agent/policy.ts'
import type { Backoff } from '../agent/states.ts'
import { hubOverMqtt } from '../hub/hub-over-mqtt.ts'
import { jsonLogger } from '../log/json-logger.ts'
import { createMetrics, type AgentMetrics } from '../metrics/agent-metrics.ts'
import type { DpsOptions } from '../provisioning/dps-options.ts'
import { dpsOverMqtt } from '../provisioning/dps-over-mqtt.ts'
import type { OnboardingCredential } from '../provisioning/onboarding.ts'
import type { NetworkOptions } from '../transport/network.ts'
import type { CheckedConfiguration } from './configuration.ts'
import { openTokenOptions } from './hsm-section.ts'
import { issuerOf } from './issuer-section.ts'
import { onlySet } from './only-set.ts'
import { readCertificates } from './pem-file.ts'

/** What an agent is started with, made from a configuration. */
export interface ConfiguredOptions extends DeviceAgentOptions {
  readonly stateFolder: string
  readonly metrics?: AgentMetrics
  /** The configuration itself, checked: durations in milliseconds, paths absolute. */
  readonly configuration: CheckedConfiguration
}

/** @throws LeafkeeperError `AGENT_CONFIG_INVALID` for what can only be seen now: files, profiles, other sections */
export async function agentOptions(configuration: CheckedConfiguration): Promise<ConfiguredOptions> {
  const { registrationId, stateFolder, hsm, agentName, keyType, adopt, outbox, twin } = configuration
  const network = await networkOptions(configuration)
  const dps = dpsOptions(configuration, network)
  const issuer =
    configuration.issuer === undefined
      ? undefined
      : await issuerOf(configuration.issuer, { dps, hsm, network })
  const policy = policyOptions(configuration)
  // What is wrong with it is said now, and not at the start.
  completePolicy(policy, { dps: dps !== undefined, keyType: keyType ?? 'EC-P256' })
  const { host, deviceId = registrationId, productInfo } = configuration.hub ?? {}
  return {
    registrationId,
    stateFolder,
    token: openTokenOptions('hsm', hsm),
    hub: hubOverMqtt({ ...network, ...onlySet({ productInfo }) }),
    policy,
    logger: jsonLogger(onlySet({ level: configuration.log?.level })),
    ...onlySet({
      agentName,
      keyType,
      adopt,
      outbox,
      twin,
      issuer,
      provisioning: dps === undefined ? undefined : dpsOverMqtt(dps),
      assignment: host === undefined ? undefined : { hub: host, deviceId },
      metrics: configuration.metrics === undefined ? undefined : await createMetrics(),
    }),
    configuration,
  }
}

async function networkOptions({ network = {} }: CheckedConfiguration): Promise<NetworkOptions> {
  const { trustedAuthorities, connectTo, connectTimeout, answerTimeout } = network
  return onlySet({
    trustedAuthorities: await readCertificates('network.trustedAuthorities', trustedAuthorities),
    connectTo,
    connectTimeoutMs: connectTimeout,
    answerTimeoutMs: answerTimeout,
  })
}

/** Azure's one host for every DPS: https://learn.microsoft.com/azure/iot-dps/concepts-service#device-provisioning-endpoint */
const globalHost = 'global.azure-devices-provisioning.net'

function dpsOptions(
  { provisioning, hsm }: CheckedConfiguration,
  network: NetworkOptions,
): DpsOptions | undefined {
  if (provisioning === undefined) return undefined
  const { host = globalHost, idScope, onboarding, pollingInterval, registrationTimeout } = provisioning
  return {
    ...network,
    provisioningHost: host,
    idScope,
    ...onlySet({
      onboarding: onboarding === undefined ? undefined : onboardingOf(onboarding, hsm),
      pollingIntervalMs: pollingInterval,
      registrationTimeoutMs: registrationTimeout,
    }),
  }
}

type OnboardingSettings = Required<Required<CheckedConfiguration>['provisioning']>['onboarding']

function onboardingOf(
  settings: OnboardingSettings,
  agentHsm: CheckedConfiguration['hsm'],
): OnboardingCredential {
  if ('symmetricKey' in settings) return settings
  const { keyName, hsm = agentHsm } = settings.certificate
  return {
    certificate: { keyName, token: openTokenOptions('provisioning.onboarding.certificate.hsm', hsm) },
  }
}

function policyOptions({ policy = {} }: CheckedConfiguration): PolicyOptions {
  const { schedule, overlap, longestRetryAfter, emergency, stableAfter, switchGrace } = policy
  const backoff = (name: 'retry' | 'busy' | 'refusal' | 'lost' | 'debounce'): Backoff | undefined => {
    const settings = policy[name]
    if (settings === undefined) return undefined
    const { base, cap, spread } = settings
    return { ...defaultPolicy[name], ...onlySet({ baseMs: base, capMs: cap, spread }) }
  }
  return onlySet({
    schedule,
    overlapMs: overlap,
    retry: backoff('retry'),
    busy: backoff('busy'),
    refusal: backoff('refusal'),
    lost: backoff('lost'),
    debounce: backoff('debounce'),
    longestRetryAfterMs: longestRetryAfter,
    emergency:
      emergency === undefined
        ? undefined
        : {
            ...defaultPolicy.emergency,
            ...onlySet({
              lifetimeShare: emergency.lifetimeShare,
              windowMs: emergency.window,
              longestWaitMs: emergency.longestWait,
            }),
          },
    stableAfterMs: stableAfter,
    switchGraceMs: switchGrace,
    askDpsAfterAttempts: policy.askDpsAfterAttempts,
  })
}
