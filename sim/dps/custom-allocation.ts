import { ServiceError } from '../errors.ts'
import { isRecord, type JsonRecord } from '../http/request-body.ts'
import { candidatesOf, linkedHub } from './allocation.ts'
import type { Attested } from './assignment.ts'
import { certificateInfo } from './certificates/certificate-info.ts'
import type { InitialTwin } from './enrollment.ts'
import type { LinkedHub } from './linked-hubs.ts'

/** What a webhook has decided. */
export interface CustomChoice {
  readonly linked: LinkedHub
  readonly initialTwin?: InitialTwin
  readonly payload?: unknown
}

// Azure gives an allocation function five seconds.
const patience = 5_000

/**
 * Asks the webhook of an entry which hub a device is to have.
 *
 * @param payload - what the device has sent along
 * @throws ServiceError 400207 when it does not answer with one of the hubs in question
 */
export async function askWebhook(
  registrationId: string,
  { kind, entry, proof }: Attested,
  payload: unknown,
  linked: readonly LinkedHub[],
): Promise<CustomChoice> {
  const { stored } = entry
  const candidates = candidatesOf(stored, linked)
  const { attestation: _secret, ...shown } = stored
  const request = {
    [kind === 'group' ? 'enrollmentGroup' : 'individualEnrollment']: shown,
    deviceRuntimeContext: {
      registrationId,
      ...(payload === undefined ? {} : { payload }),
      ...(proof.by === 'x509' ? { x509: certificateInfo(proof.leaf) } : { [proof.by]: {} }),
    },
    linkedHubs: candidates.map(({ hub }) => hub.hostName),
  }
  const answer = await post(stored.customAllocationDefinition?.webhookUrl ?? '', request)
  const { iotHubHostName, initialTwin } = answer
  if (typeof iotHubHostName !== 'string') throw failed('it named no iotHubHostName')
  return {
    linked: linkedHub(iotHubHostName, candidates),
    ...(isRecord(initialTwin) ? { initialTwin } : {}),
    ...('payload' in answer ? { payload: answer['payload'] } : {}),
  }
}

async function post(url: string, body: object): Promise<JsonRecord> {
  try {
    const response = await fetch(url, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      redirect: 'error',
      signal: AbortSignal.timeout(patience),
    })
    const answer: unknown = await response.json()
    if (response.ok && isRecord(answer)) return answer
    throw new Error(`status ${response.status}`)
  } catch (error) {
    throw failed(error instanceof Error ? error.message : String(error))
  }
}

function failed(why: string): ServiceError {
  return new ServiceError(400, 400207, `Custom allocation failed: ${why}.`)
}
