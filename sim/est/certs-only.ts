import { Constructed, fromBER, Integer, ObjectIdentifier, Sequence, Set as Asn1Set } from 'asn1js'
import { X509Certificate } from 'node:crypto'

const signedData = '1.2.840.113549.1.7.2'
const data = '1.2.840.113549.1.7.1'

/**
 * A certs-only message (RFC 5272, 4.1: a SignedData of RFC 5652 with neither content nor signers), in Base64. Without
 * line breaks, which senders need not make (RFC 8951, 3.1) and not every client reads.
 *
 * @param certificates - PEM, each of any number of certificates; the order is kept
 */
export function certsOnly(certificates: readonly string[]): string {
  const each = certificates.flatMap(
    (pem) => pem.match(/-----BEGIN CERTIFICATE-----[\s\S]*?-----END CERTIFICATE-----/g) ?? [],
  )
  const message = new Sequence({
    value: [
      new Integer({ value: 1 }),
      new Asn1Set(),
      new Sequence({ value: [new ObjectIdentifier({ value: data })] }),
      new Constructed({
        idBlock: { tagClass: 3, tagNumber: 0 },
        value: each.map((pem) => fromBER(new X509Certificate(pem).raw).result),
      }),
      new Asn1Set(),
    ],
  })
  const envelope = new Sequence({
    value: [
      new ObjectIdentifier({ value: signedData }),
      new Constructed({ idBlock: { tagClass: 3, tagNumber: 0 }, value: [message] }),
    ],
  })
  return Buffer.from(envelope.toBER()).toString('base64')
}
