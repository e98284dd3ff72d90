import { fromBER, ObjectIdentifier, Sequence, Set as Asn1Set } from 'asn1js'
import type { Pkcs10CertificateRequest } from '../pki/x509.ts'
import { ServiceError } from '../errors.ts'

/**
 * Something that requests are to have: an object identifier, or an attribute with its values, each an object
 * identifier or DER.
 */
export type CsrAttribute =
  string | { readonly type: string; readonly values: readonly (string | Uint8Array)[] }

/** By which a request is tied to its TLS connection (RFC 7030, 3.5). */
export const challengePassword = '1.2.840.113549.1.9.7'
const ecPublicKey = '1.2.840.10045.2.1'
const rsaEncryption = '1.2.840.113549.1.1.1'
const curves: Readonly<Record<string, string>> = {
  '1.2.840.10045.3.1.7': 'P-256',
  '1.3.132.0.34': 'P-384',
}

/** `CsrAttrs` as DER (RFC 7030, 4.5.2, as RFC 8951, 4 has it). @throws Error for what is no object identifier */
export function encodeCsrAttributes(attributes: readonly CsrAttribute[]): Buffer {
  const value = attributes.map((attribute) =>
    typeof attribute === 'string'
      ? objectIdentifier(attribute)
      : new Sequence({
          value: [
            objectIdentifier(attribute.type),
            new Asn1Set({
              value: attribute.values.map((one) =>
                typeof one === 'string' ? objectIdentifier(one) : fromBER(one).result,
              ),
            }),
          ],
        }),
  )
  return Buffer.from(new Sequence({ value }).toBER())
}

/**
 * Holds a request against the keys that are asked for; several are alternatives.
 *
 * @throws ServiceError 400
 */
export function requireKey(
  { publicKey: { algorithm } }: Pkcs10CertificateRequest,
  attributes: readonly CsrAttribute[],
): void {
  const wanted = attributes.flatMap((attribute) => keysOf(attribute))
  const { name, namedCurve } = algorithm as { readonly name: string; readonly namedCurve?: string }
  const has = namedCurve ?? (name.startsWith('RSA') ? 'RSA' : name)
  if (wanted.length === 0 || wanted.includes(has)) return
  throw new ServiceError(400, 400000, `Expected a key of ${wanted.join(' or ')}, got one of ${has}.`)
}

function keysOf(attribute: CsrAttribute): readonly string[] {
  if (typeof attribute === 'string') return []
  if (attribute.type === rsaEncryption) return ['RSA']
  if (attribute.type !== ecPublicKey) return []
  return attribute.values.flatMap((curve) => (typeof curve === 'string' ? (curves[curve] ?? curve) : []))
}

function objectIdentifier(text: string): ObjectIdentifier {
  const identifier = new ObjectIdentifier({ value: text })
  if (!/^\d+(?:\.\d+)+$/.test(text) || identifier.valueBlock.toString() !== text)
    throw new RangeError(`Expected an object identifier such as ${challengePassword}, got "${text}".`)
  return identifier
}
