import pkcs11 from 'pkcs11js'
import type { KeyType } from './key-store.ts'
import type { AttributeName } from './attributes.ts'

interface KeyTypeRow {
  /** `CKK_...` */
  readonly family: number
  readonly generation: number
  /** Bits; tokens state the range they generate. */
  readonly size: number
  /** What the template of the public key says beyond the common part. */
  readonly parameters: Partial<Record<AttributeName, number | Buffer>>
}

const ec = (size: number, oid: string): KeyTypeRow => ({
  family: pkcs11.CKK_EC,
  generation: pkcs11.CKM_EC_KEY_PAIR_GEN,
  size,
  parameters: { CKA_EC_PARAMS: Buffer.from(oid, 'hex') },
})

const rsa = (size: number): KeyTypeRow => ({
  family: pkcs11.CKK_RSA,
  generation: pkcs11.CKM_RSA_PKCS_KEY_PAIR_GEN,
  size,
  parameters: { CKA_MODULUS_BITS: size, CKA_PUBLIC_EXPONENT: Buffer.from('010001', 'hex') },
})

/** How each key type is made on a token. Curves are DER object identifiers (RFC 5480, 2.1.1.1). */
export const keyTypes: Readonly<Record<KeyType, KeyTypeRow>> = {
  'EC-P256': ec(256, '06082a8648ce3d030107'),
  'EC-P384': ec(384, '06052b81040022'),
  'RSA-2048': rsa(2048),
  'RSA-3072': rsa(3072),
}

/** All key types, for messages and for asking a token what it offers. */
export const keyTypeNames = Object.keys(keyTypes) as readonly KeyType[]
