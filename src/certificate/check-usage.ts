import { LeafkeeperError } from '../errors.ts'
import { parseCertificate } from './read-certificate.ts'
import * as x509 from './x509.ts'

/**
 * Checks that a leaf may authenticate a TLS client (RFC 5280, 4.2.1.3, 4.2.1.9 and 4.2.1.12). An extension that is
 * absent allows; `anyExtendedKeyUsage` alone does not, since OpenSSL's servers refuse it.
 *
 * @param leaf DER.
 * @throws LeafkeeperError `CERT_USAGE`
 */
export function checkUsage(leaf: Buffer): void {
  const certificate = parseCertificate(leaf)
  const usages = certificate.getExtension(x509.KeyUsagesExtension)?.usages
  if (usages !== undefined && (usages & x509.KeyUsageFlags.digitalSignature) === 0) {
    throw refused('its key usage does not include digitalSignature')
  }
  const purposes = certificate.getExtension(x509.ExtendedKeyUsageExtension)?.usages
  if (purposes !== undefined && !purposes.includes(x509.ExtendedKeyUsage.clientAuth)) {
    throw refused(`its extended key usage (${purposes.join(', ')}) does not include clientAuth`)
  }
  if (certificate.getExtension(x509.BasicConstraintsExtension)?.ca === true) {
    throw refused('it is the certificate of an authority')
  }
}

function refused(why: string): LeafkeeperError {
  return new LeafkeeperError('CERT_USAGE', {
    message: `The certificate cannot authenticate this device: ${why}.`,
  })
}
