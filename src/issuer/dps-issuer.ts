import { pemOfDerChain } from '../certificate/der-chain.ts'
import { base64OfRequest } from '../certificate/request.ts'
import { LeafkeeperError } from '../errors.ts'
import { askDps, operationIn, type Question } from '../provisioning/certificate-question.ts'
import type { DpsOptions } from '../provisioning/dps-options.ts'
import type { OnboardingCredential } from '../provisioning/onboarding.ts'
import { parseAddress, route } from '../transport/address.ts'
import type { IssueAnswer, IssueRequest, Issuer } from './issuer.ts'

/** How DPS is reached, and what the device shows to it. */
export interface DpsIssuerOptions extends DpsOptions {
  readonly onboarding: OnboardingCredential
}

const defaultPollingIntervalMs = 2_000

/**
 * DPS's certificate-signing request (preview): the certificate comes with a registration, which is authenticated by an
 * onboarding credential. The device's enrollment has to name a credential policy (`credentialPolicyName`).
 *
 * It serves for the first certificate of a device and for every later one; each is a registration. DPS does not know
 * the certificates that it has issued, so the agent's own registrations need the same onboarding credential.
 *
 * @example
 * ```ts
 * const dps = {
 *   provisioningHost: 'global.azure-devices-provisioning.net',
 *   idScope: '0ne00000000',
 *   onboarding: { symmetricKey: { file: '/etc/leafkeeper/onboarding-key' } },
 * }
 * await DeviceAgent.start({ ..., provisioning: dpsOverMqtt(dps), issuer: dpsIssuer(dps) })
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where a host is not one. A request rejects with `DPS_*`, `HSM_*` and
 * `NETWORK_*` as a registration does, with `ISSUER_REFUSED` where DPS issues nothing, or with `CERT_UNREADABLE`
 */
export function dpsIssuer(options: DpsIssuerOptions): Issuer {
  route(parseAddress(options.provisioningHost), options.connectTo)
  const { pollingIntervalMs = defaultPollingIntervalMs } = options

  const ask = async (question: Question, { commonName, signal }: IssueRequest): Promise<IssueAnswer> => {
    const answer = await askDps(question, commonName, options, signal)
    switch (answer.kind) {
      case 'refused':
        throw answer.error
      case 'pending': {
        const { retryAfterSeconds } = answer
        const retryAfterMs = retryAfterSeconds === undefined ? pollingIntervalMs : retryAfterSeconds * 1_000
        return { kind: 'pending', ticket: operationIn(answer), retryAfterMs }
      }
      case 'assigned':
        if (answer.issuedChain === undefined || answer.issuedChain === null)
          throw new LeafkeeperError('ISSUER_REFUSED', {
            message:
              'DPS assigned the device to a hub and issued no certificate: its enrollment has to name a credential policy (credentialPolicyName).',
          })
        return { kind: 'issued', chain: pemOfDerChain(answer.issuedChain) }
    }
  }
  const submit = (request: IssueRequest): Promise<IssueAnswer> =>
    ask({ csr: base64OfRequest(request.csr) }, request)
  return {
    name: `DPS ${options.provisioningHost}`,
    submit,
    resume: (operationId, request) =>
      ask({ operationId }, request).catch((error: unknown) => {
        // An operation is not known for ever; what has become of it cannot be told any more.
        if (error instanceof LeafkeeperError && error.code === 'DPS_NOT_FOUND') return submit(request)
        throw error
      }),
  }
}
