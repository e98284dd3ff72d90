import { createPublicKey, type KeyObject } from 'node:crypto'
import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import { readAttributes, toNumber } from './attributes.ts'
import type { KeyType } from './key-store.ts'

/** A public key as certificates and requests carry it. */
export interface PublicKey {
  /** DER of the SubjectPublicKeyInfo (RFC 5280, 4.1.2.7). */
  readonly spki: Uint8Array
  /** `undefined` for a key that leafkeeper would not have made. */
  readonly keyType: KeyType | undefined
}

/** Reads a public key object; `undefined` where its kind is not EC or RSA. */
export function readPublicKey(api: PKCS11, session: Handle, object: Handle): PublicKey | undefined {
  const family = toNumber(readAttributes(api, session, object, ['CKA_KEY_TYPE']).CKA_KEY_TYPE)
  if (family === pkcs11.CKK_EC) {
    const values = readAttributes(api, session, object, ['CKA_EC_PARAMS', 'CKA_EC_POINT'])
    return ecPublicKey(values.CKA_EC_PARAMS, values.CKA_EC_POINT)
  }
  if (family === pkcs11.CKK_RSA) {
    const values = readAttributes(api, session, object, ['CKA_MODULUS', 'CKA_PUBLIC_EXPONENT'])
    const [n, e] = [values.CKA_MODULUS, values.CKA_PUBLIC_EXPONENT].map((part) => part.toString('base64url'))
    return fromJwk({ kty: 'RSA', n, e })
  }
  return undefined
}

/** The SubjectPublicKeyInfo of a key object of node:crypto, with the name of its type. */
export function toPublicKey(key: KeyObject): PublicKey {
  return { spki: Uint8Array.from(key.export({ type: 'spki', format: 'der' })), keyType: keyTypeOf(key) }
}

const curves = new Map([
  ['06082a8648ce3d030107', { crv: 'P-256', width: 32 }],
  ['06052b81040022', { crv: 'P-384', width: 48 }],
])

/**
 * CKA_EC_POINT is the point as DER OCTET STRING; some modules give the bare point (PKCS#11 v2.40, Current
 * Mechanisms 2.3.3 against earlier drafts).
 */
function ecPublicKey(parameters: Buffer, value: Buffer): PublicKey | undefined {
  const curve = curves.get(parameters.toString('hex'))
  if (curve === undefined) return undefined
  const { crv, width } = curve
  const point = value.subarray(-(1 + 2 * width))
  const [x, y] = [point.subarray(1, 1 + width), point.subarray(1 + width)].map((part) =>
    part.toString('base64url'),
  )
  return fromJwk({ kty: 'EC', crv, x, y })
}

function fromJwk(key: Record<string, string | undefined>): PublicKey {
  return toPublicKey(createPublicKey({ key, format: 'jwk' }))
}

function keyTypeOf(key: KeyObject): KeyType | undefined {
  const details = key.asymmetricKeyDetails
  switch (`${key.asymmetricKeyType ?? ''} ${details?.namedCurve ?? details?.modulusLength ?? ''}`) {
    case 'ec prime256v1':
      return 'EC-P256'
    case 'ec secp384r1':
      return 'EC-P384'
    case 'rsa 2048':
      return 'RSA-2048'
    case 'rsa 3072':
      return 'RSA-3072'
    default:
      return undefined
  }
}
