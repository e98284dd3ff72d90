import type { Pem } from '../brands.ts'
import { toPem } from '../hsm/pem.ts'
import { unreadable } from './read-certificate.ts'

/**
 * Makes PEM of the certificates that Azure's services send: an array of DER in Base64, the leaf first.
 *
 * @throws LeafkeeperError `CERT_UNREADABLE` where it is no such array; whether these are certificates that make a chain
 * is not looked at
 */
export function pemOfDerChain(certificates: unknown): Pem {
  if (!Array.isArray(certificates) || certificates.length === 0)
    throw unreadable('it is no list of certificates')
  return toPem(
    certificates.map((certificate: unknown) => {
      if (typeof certificate !== 'string' || !/^[A-Za-z0-9+/]+={0,2}$/.test(certificate))
        throw unreadable('it holds something else than DER in Base64')
      return Buffer.from(certificate, 'base64')
    }),
  )
}
