import { decodeCertificateRequest, RequestRefused } from '../adr/certificate-request.ts'
import { ServiceError } from '../errors.ts'
import { isRecord, largestBody } from '../http/request-body.ts'
import { isTooDeep } from '../json-depth.ts'
import { requestIdIn } from '../mqtt/request-id.ts'
import { ProtocolViolation } from '../mqtt/session.ts'
import type { TpmKeys } from './tpm/tpm-keys.ts'

/** What a device asks of DPS. */
export type DeviceRequest =
  | { readonly kind: 'register'; readonly requestId: string; readonly body: Buffer }
  | { readonly kind: 'poll'; readonly requestId: string; readonly operationId: string }
  /** Only over HTTP. */
  | { readonly kind: 'lookup'; readonly requestId: string; readonly body: Buffer }

/** What a user name says: `{idScope}/registrations/{registrationId}/api-version=...`. */
export interface DpsUserName {
  readonly idScope: string
  readonly registrationId: string
  readonly apiVersion: string | undefined
}

/** Reads a user name leniently; `undefined` when it is none for DPS. */
export function parseDpsUserName(userName: string): DpsUserName | undefined {
  const parts = /^([^/]+)\/registrations\/([^/]+)(?:\/(.*))?$/i.exec(userName)
  if (parts === null) return undefined
  const [, idScope = '', registrationId = '', query = ''] = parts
  // SDKs differ in whether a question mark stands before the parameters.
  const apiVersion = new URLSearchParams(query.replace(/^\?/, '')).get('api-version')
  return { idScope, registrationId, apiVersion: apiVersion ?? undefined }
}

/** Reads the topic of a publication. @throws ProtocolViolation for every other topic */
export function parseRequest(topic: string, body: Buffer): DeviceRequest {
  const parts =
    /^\$dps\/registrations\/(PUT\/iotdps-register|GET\/iotdps-get-operationstatus)\/\?(.*)$/i.exec(topic)
  const [, , parameters = ''] = parts ?? []
  const requestId = requestIdIn(parameters)
  if (parts === null || requestId === undefined) {
    throw new ProtocolViolation(
      `"${topic}" is no request to DPS: expected a registration or a status, with a $rid.`,
    )
  }
  if (parts[1]?.toUpperCase().startsWith('PUT') === true) return { kind: 'register', requestId, body }
  return { kind: 'poll', requestId, operationId: new URLSearchParams(parameters).get('operationId') ?? '' }
}

/** What a device says when it registers. */
export interface RegistrationBody {
  readonly registrationId: string
  /** For a custom allocation. */
  readonly payload?: unknown
  readonly tpm?: TpmKeys
  /** A request for a certificate: Base64 of the DER of a PKCS#10, from {@link csrSince} on. */
  readonly csr?: string
}

/** The first version of the device API in which a device can ask for a certificate. */
export const csrSince = '2025-07-01-preview'

/**
 * Reads the body of a registration.
 *
 * @param apiVersion - what the device speaks: earlier ones do not know of `csr`
 * @throws ServiceError 400 when it has no registration id, half a TPM, or a request for a certificate that is none; 413
 */
export function readRegistration(body: Buffer, apiVersion = ''): RegistrationBody {
  if (body.length > largestBody) {
    throw new ServiceError(413, 413001, `The body is larger than ${largestBody} bytes.`)
  }
  const text = body.toString()
  if (isTooDeep(text)) throw new ServiceError(400, 400000, 'Bad request: the body is nested too deeply.')
  let content: unknown
  try {
    content = JSON.parse(text)
  } catch {
    throw new ServiceError(400, 400000, 'Bad request: the body is no JSON.')
  }
  if (isRecord(content)) {
    const { registrationId, payload, tpm, csr } = content
    const asksForCertificate = csr !== undefined && csr !== null && apiVersion >= csrSince
    if (typeof registrationId === 'string' && registrationId !== '') {
      return {
        registrationId,
        ...(payload === undefined ? {} : { payload }),
        ...(tpm === undefined || tpm === null ? {} : { tpm: readTpmKeys(tpm) }),
        ...(asksForCertificate ? { csr: readCsr(csr, registrationId) } : {}),
      }
    }
  }
  throw new ServiceError(400, 400000, 'Bad request: the body has no registrationId.')
}

function readCsr(csr: unknown, registrationId: string): string {
  if (typeof csr !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(csr)) {
    throw new ServiceError(400, 400000, 'Bad request: csr needs PKCS#10 in Base64, without armour or breaks.')
  }
  try {
    decodeCertificateRequest(csr, registrationId)
    return csr
  } catch (error) {
    if (!(error instanceof RequestRefused)) throw error
    throw new ServiceError(400, 400000, `Bad request: csr: ${error.message}`)
  }
}

function readTpmKeys(tpm: unknown): TpmKeys {
  if (isRecord(tpm)) {
    const { endorsementKey, storageRootKey } = tpm
    if (typeof endorsementKey === 'string' && typeof storageRootKey === 'string') {
      return { endorsementKey, storageRootKey }
    }
  }
  throw new ServiceError(400, 400000, 'Bad request: tpm needs an endorsementKey and a storageRootKey.')
}
