import { setTimeout as pause } from 'node:timers/promises'
import { LeafkeeperError } from '../errors.ts'
import type { TpmCredential } from '../transport/credential.ts'
import type { Service } from '../transport/service.ts'
import { notTheProtocol, readBody, readResponse, type DpsAnswer } from './dps-answer.ts'
import { askDpsOverHttps, dpsHttpsService, type DpsHttpsOptions } from './dps-https-call.ts'
import type { ProvisioningService, Registration } from './provisioning-service.ts'

export type { DpsHttpsOptions } from './dps-https-call.ts'

const defaultPollingIntervalMs = 2_000
const defaultRegistrationTimeoutMs = 180_000
/** The name that DPS has for the key it encrypts to a TPM. */
const keyName = 'registration'

/** What a registration is about. */
interface Talk {
  readonly credential: TpmCredential
  readonly options: DpsHttpsOptions
  readonly service: Service
  readonly signal: AbortSignal
}

/**
 * DPS over HTTPS, for devices that attest by a TPM, which DPS does not take over MQTT. It answers a first request with a
 * key that only this TPM can take in; the request is repeated, signed with that key; and the assignment brings the key
 * for the hub in the same way.
 *
 * The official transport is not used for it: it hides why a challenge was refused, and does not let go when it is told to.
 *
 * @see https://learn.microsoft.com/azure/iot-dps/concepts-tpm-attestation
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` where the host is not one
 */
export function dpsOverHttps(options: DpsHttpsOptions): ProvisioningService {
  const service = dpsHttpsService(options)
  return {
    async register(credential, signal) {
      if (!('activate' in credential))
        throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
          message: 'Expected a TPM to register with over HTTPS, got a certificate; that takes dpsOverMqtt.',
        })
      return register({ credential, options, service, signal })
    },
  }
}

async function register(talk: Talk): Promise<Registration> {
  const { credential, options, service } = talk
  const { endorsementKey, storageRootKey } = await credential.publicKeys()
  const body = JSON.stringify({
    registrationId: credential.registrationId,
    tpm: {
      endorsementKey: endorsementKey.toString('base64'),
      storageRootKey: storageRootKey.toString('base64'),
    },
  })
  await credential.activate(await challenge(talk, body))
  const resource = `${options.idScope}/registrations/${credential.registrationId}`
  const { token } = await credential.sharedAccessSignature(resource, keyName)
  const assigned = await assignment(talk, body, token.reveal())
  await credential.activate(blobIn(assigned.body['registrationState'], service))
  return assigned.registration
}

/** Asks without a signature. DPS refuses that, and sends what to sign with. */
async function challenge(talk: Talk, body: string): Promise<Buffer> {
  const { service } = talk
  const response = await askDpsOverHttps({ ...talk, method: 'PUT', action: 'register', body })
  const key = response.status === 401 ? readBody(response.body)?.['authenticationKey'] : undefined
  if (typeof key === 'string' && key !== '') return Buffer.from(key, 'base64')
  const answer = readResponse(response, service)
  throw answer.kind === 'refused' ? answer.error : notTheProtocol(service, 'no challenge for its TPM')
}

async function assignment(
  talk: Talk,
  body: string,
  authorization: string,
): Promise<Extract<DpsAnswer, { kind: 'assigned' }>> {
  const { options, service, signal } = talk
  const limitMs = options.registrationTimeoutMs ?? defaultRegistrationTimeoutMs
  const giveUpAt = performance.now() + limitMs
  let operation: string | undefined
  for (;;) {
    const question =
      operation === undefined
        ? ({ method: 'PUT', action: 'register', body } as const)
        : ({ method: 'GET', action: `operations/${encodeURIComponent(operation)}` } as const)
    const answer = readResponse(await askDpsOverHttps({ ...talk, ...question, authorization }), service)
    if (answer.kind === 'refused') throw answer.error
    if (answer.kind === 'assigned') return answer
    const { operationId } = answer.body
    operation = typeof operationId === 'string' && operationId !== '' ? operationId : undefined
    const pauseMs = wait(answer, options)
    if (performance.now() + pauseMs > giveUpAt)
      throw new LeafkeeperError('NETWORK_TIMEOUT', {
        message: `DPS ${options.provisioningHost} did not assign the device within ${limitMs} ms.`,
      })
    await pause(pauseMs, undefined, { signal }).catch(() => signal.throwIfAborted())
  }
}

/** How long to wait before the next question, in milliseconds. */
function wait(
  { retryAfterSeconds }: Extract<DpsAnswer, { kind: 'pending' }>,
  options: DpsHttpsOptions,
): number {
  if (retryAfterSeconds !== undefined) return retryAfterSeconds * 1000
  return options.pollingIntervalMs ?? defaultPollingIntervalMs
}

/** The hub's key, encrypted to the TPM. */
function blobIn(state: unknown, service: Service): Buffer {
  const { tpm } = (state ?? {}) as { readonly tpm?: { readonly authenticationKey?: unknown } | null }
  const key = tpm?.authenticationKey
  if (typeof key === 'string' && key !== '') return Buffer.from(key, 'base64')
  throw notTheProtocol(service, 'an assignment without a key for its TPM')
}
