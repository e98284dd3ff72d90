import { Pkcs10CertificateRequest } from '../pki/x509.ts'

/** A request that is not signed. */
export class RequestRefused extends Error {
  override readonly name = 'RequestRefused'
  readonly credentialError: CredentialError

  constructor(credentialError: CredentialError, message: string, cause?: unknown) {
    super(message, { cause })
    this.credentialError = credentialError
  }
}

/** Why a request is not signed. */
export type CredentialError =
  'FailedToDecodeCsr' | 'InvalidCsrSignature' | 'SubjectMismatch' | 'PolicyNotFound'

/**
 * Reads a request for a certificate of one device.
 *
 * @param csr - PKCS#10: Base64 of the DER, without PEM armour
 * @throws RequestRefused `FailedToDecodeCsr`, `SubjectMismatch`
 */
export function decodeCertificateRequest(csr: string, deviceId: string): Pkcs10CertificateRequest {
  const request = decode(csr)
  const names = request.subjectName.getField('CN')
  if (names.length !== 1 || names[0] !== deviceId) {
    throw new RequestRefused(
      'SubjectMismatch',
      `Expected a request for "${deviceId}", got one for "${names.join(', ')}".`,
    )
  }
  return request
}

/** Makes sure that whoever asks has the key. @throws RequestRefused `InvalidCsrSignature` */
export async function requireProofOfPossession(request: Pkcs10CertificateRequest): Promise<void> {
  if (await request.verify().catch(() => false)) return
  throw new RequestRefused('InvalidCsrSignature', 'The request is not signed with the key it holds.')
}

function decode(csr: string): Pkcs10CertificateRequest {
  try {
    return new Pkcs10CertificateRequest(Buffer.from(csr, 'base64'))
  } catch (cause) {
    throw new RequestRefused('FailedToDecodeCsr', 'The request is no PKCS#10 that can be read.', cause)
  }
}
