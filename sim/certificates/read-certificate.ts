import { X509Certificate } from 'node:crypto'
import { ServiceError } from '../errors.ts'

/**
 * Reads a certificate in any of the forms that Azure's APIs take: PEM, or PEM or DER in Base64.
 *
 * @throws ServiceError 400 that names `what`
 */
export function readAnyCertificate(text: string, what: string): X509Certificate {
  const plain = text.trim()
  try {
    return new X509Certificate(plain.startsWith('-----') ? plain : Buffer.from(plain, 'base64'))
  } catch {
    throw new ServiceError(400, 400209, `${what}: expected a certificate as PEM, or as Base64 of DER or PEM.`)
  }
}
