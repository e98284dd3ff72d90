import { isObject, parseJson } from '../json.ts'
import { credentialRequestId } from '../topics.ts'

/** A request for a certificate, as far as it can be told before anything is decoded. */
export interface CertificateRequest {
  /** PKCS#10: Base64 of the DER. */
  readonly csr: string
  /** The operation to take the place of: its request id, or `*` for whichever is active. */
  readonly replace: string | undefined
}

/** Why a request is refused at once. */
export interface RequestMistake {
  readonly errorCode: 400004 | 400006
  readonly message: string
}

/** The largest request: 8 KiB of Base64. */
export const largestCsr = 8 * 1024

/** Reads the body of `issueCertificate`. */
export function readCertificateRequest(deviceId: string, body: Buffer): CertificateRequest | RequestMistake {
  if (body.length === 0) return invalid('Expected a JSON object with "id" and "csr", got nothing.')
  const json = parseJson(body.toString())
  if (json === undefined) return { errorCode: 400006, message: 'The body is not JSON.' }
  if (!isObject(json)) return invalid('Expected a JSON object.')
  const { id, csr, replace, ...unknown } = json
  const [surplus] = Object.keys(unknown)
  if (surplus !== undefined) {
    return invalid(`There is no field "${surplus}": expected "id", "csr" and "replace" only.`)
  }
  if (id !== deviceId) return invalid(`"id": expected "${deviceId}", the device of this connection.`)
  if (typeof csr !== 'string' || csr === '') return invalid('"csr": expected PKCS#10 in Base64.')
  if (csr.length > largestCsr) return invalid(`"csr": at most ${largestCsr} characters, not ${csr.length}.`)
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(csr)) return invalid('"csr": expected Base64 without armour or breaks.')
  if (replace === undefined || replace === '*') return { csr, replace }
  if (typeof replace !== 'string' || !credentialRequestId.test(replace)) {
    return invalid('"replace": expected "*", or a request id of 4 to 36 letters, digits and inner hyphens.')
  }
  return { csr, replace }
}

function invalid(message: string): RequestMistake {
  return { errorCode: 400004, message }
}
