import { LeafkeeperError } from '../errors.ts'

/** The DER parts of a certificate that a PKCS#11 certificate object repeats as attributes. */
export interface CertificateNames {
  readonly subject: Buffer
  readonly issuer: Buffer
  readonly serialNumber: Buffer
}

/**
 * Cuts subject, issuer and serial number out of a certificate (RFC 5280, 4.1). NSS refuses a certificate object
 * without them.
 *
 * @throws LeafkeeperError `CERT_UNREADABLE`
 */
export function certificateNames(der: Buffer): CertificateNames {
  const certificate = element(der, 0)
  const toBeSigned = element(der, certificate.content)
  const first = element(der, toBeSigned.content)
  // version [0] EXPLICIT is there in every certificate but one of version 1.
  const serialNumber = first.tag === 0xa0 ? element(der, first.end) : first
  const signature = element(der, serialNumber.end)
  const issuer = element(der, signature.end)
  const validity = element(der, issuer.end)
  const subject = element(der, validity.end)
  const cut = ({ start, end }: Element): Buffer => der.subarray(start, end)
  return { subject: cut(subject), issuer: cut(issuer), serialNumber: cut(serialNumber) }
}

interface Element {
  readonly tag: number
  readonly start: number
  readonly content: number
  readonly end: number
}

/** One DER element (X.690, 8.1): tags below 31 and definite lengths are all that certificates use here. */
function element(der: Buffer, start: number): Element {
  const tag = der[start]
  const short = der[start + 1]
  if (tag === undefined || short === undefined) throw unreadable()
  const width = short < 0x80 ? 0 : short & 0x7f
  const content = start + 2 + width
  if (short === 0x80 || width > 4 || content > der.length) throw unreadable()
  const length = width === 0 ? short : der.readUIntBE(start + 2, width)
  const end = content + length
  if (end > der.length) throw unreadable()
  return { tag, start, content, end }
}

function unreadable(): LeafkeeperError {
  return new LeafkeeperError('CERT_UNREADABLE', { message: 'The certificate is not DER.' })
}
