import type { TLSSocket } from 'node:tls'
import { ServiceError } from '../errors.ts'
import { ChallengePasswordAttribute, Pkcs10CertificateRequest } from '../pki/x509.ts'
import { challengePassword } from './csr-attributes.ts'

/**
 * Reads the body of an enrolment: Base64 of PKCS#10, with or without white space (RFC 8951, 3.1).
 *
 * @throws ServiceError 400 where it is none, or is not signed with the key that it holds
 */
export async function readEnrollmentRequest(body: Buffer): Promise<Pkcs10CertificateRequest> {
  const text = body.toString('latin1').replace(/[ \t\r\n]/g, '')
  if (text === '' || text.length % 4 !== 0 || !/^[A-Za-z0-9+/]+={0,2}$/.test(text))
    throw new ServiceError(400, 400000, 'The body is not the Base64 of a PKCS#10 request.')
  const request = decode(text)
  if (await request.verify().catch(() => false)) return request
  throw new ServiceError(400, 400000, 'The request is not signed with the key it holds.')
}

/**
 * Holds a request against the TLS connection it came on (RFC 7030, 3.5). One that is tied to a connection must be tied
 * to this one, whether that was asked for or not.
 *
 * @throws ServiceError 400
 */
export function requireLink(request: Pkcs10CertificateRequest, socket: TLSSocket, isRequired: boolean): void {
  const attribute = request.getAttribute(challengePassword)
  if (attribute === null) {
    if (!isRequired) return
    throw new ServiceError(400, 400000, 'The request lacks the challengePassword with tls-unique.')
  }
  // RFC 5929, 3.1; TLS 1.3 has no such value (RFC 8446, C.5).
  const unique = socket.getProtocol() === 'TLSv1.2' ? socket.getPeerFinished() : undefined
  const said = attribute instanceof ChallengePasswordAttribute ? attribute.password : undefined
  if (unique === undefined)
    throw new ServiceError(400, 400000, 'A challengePassword with tls-unique needs TLS 1.2.')
  if (said !== unique.toString('base64'))
    throw new ServiceError(400, 400000, 'The challengePassword is not the tls-unique of this connection.')
}

function decode(text: string): Pkcs10CertificateRequest {
  try {
    return new Pkcs10CertificateRequest(Buffer.from(text, 'base64'))
  } catch {
    throw new ServiceError(400, 400000, 'The body is not the Base64 of a PKCS#10 request.')
  }
}
