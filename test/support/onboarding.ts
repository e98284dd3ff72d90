import {
  DeviceAgent,
  dpsIssuer,
  dpsOverMqtt,
  type DeviceAgentOptions,
  type OnboardingCredential,
} from 'leafkeeper'
import { onTestFinished } from 'vitest'
import type { Azure } from './azure.ts'
import { quickPolicy } from './world.ts'

/** A device is issued certificates by this policy; it registers by whatever the entry says. */
export async function enrollForIssuance(
  azure: Azure,
  registrationId: string,
  attestation: object,
): Promise<void> {
  const { provisioning } = azure
  // The service SDK speaks a version that does not know of policies.
  Object.assign(provisioning, { _versionQueryString: () => '?api-version=2025-07-01-preview' })
  const credentialPolicyName = 'default'
  const enrollment = { registrationId, attestation, credentialPolicyName }
  await provisioning.createOrUpdateIndividualEnrollment(enrollment as never)
}

/** What an agent is made of that is onboarded with this. */
export function onboarded(
  azure: Azure,
  registrationId: string,
  onboarding: OnboardingCredential,
): DeviceAgentOptions & Required<Pick<DeviceAgentOptions, 'issuer'>> {
  const dps = { ...azure.dps, onboarding, pollingIntervalMs: 20 }
  return {
    ...azure.agentOptions(registrationId),
    provisioning: dpsOverMqtt(dps),
    issuer: dpsIssuer(dps),
    policy: { ...quickPolicy, refusal: { baseMs: 50, capMs: 50 } },
  }
}

/** Starts an agent that is stopped when the test ends. */
export async function startOnboarded(options: DeviceAgentOptions): Promise<DeviceAgent> {
  const agent = await DeviceAgent.start(options)
  onTestFinished(() => agent.stop())
  return agent
}
