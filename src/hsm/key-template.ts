import pkcs11, { type Handle, type PKCS11, type Template } from 'pkcs11js'
import type { KeyId } from '../brands.ts'
import { template } from './attributes.ts'
import { certificateNames } from './certificate-names.ts'
import type { KeyType } from './key-store.ts'
import { keyTypeNames, keyTypes } from './key-types.ts'

/** What every object of a generation has in common. */
export interface ObjectName {
  readonly keyId: KeyId
  readonly label: string
}

/** The templates of a key pair that can sign, and of which nothing but the public half ever leaves the token. */
export function keyPairTemplates(
  keyType: KeyType,
  name: ObjectName,
  omit: readonly string[] = [],
): { readonly publicKey: Template; readonly privateKey: Template } {
  const { family, parameters } = keyTypes[keyType]
  const common = { CKA_KEY_TYPE: family, CKA_TOKEN: true, ...named(name) }
  return {
    publicKey: template(
      {
        CKA_CLASS: pkcs11.CKO_PUBLIC_KEY,
        ...common,
        CKA_PRIVATE: false,
        CKA_VERIFY: true,
        // Left to themselves, modules allow more (SoftHSM: every key may also encrypt and wrap).
        CKA_ENCRYPT: false,
        CKA_WRAP: false,
        ...parameters,
      },
      omit,
    ),
    privateKey: template(
      {
        CKA_CLASS: pkcs11.CKO_PRIVATE_KEY,
        ...common,
        CKA_PRIVATE: true,
        CKA_SENSITIVE: true,
        CKA_EXTRACTABLE: false,
        CKA_SIGN: true,
        CKA_DECRYPT: false,
        CKA_UNWRAP: false,
        CKA_DERIVE: false,
      },
      omit,
    ),
  }
}

/** The template of a certificate object. */
export function certificateTemplate(der: Buffer, name: ObjectName, omit: readonly string[] = []): Template {
  const { subject, issuer, serialNumber } = certificateNames(der)
  return template(
    {
      CKA_CLASS: pkcs11.CKO_CERTIFICATE,
      CKA_CERTIFICATE_TYPE: pkcs11.CKC_X_509,
      CKA_TOKEN: true,
      CKA_PRIVATE: false,
      ...named(name),
      CKA_SUBJECT: subject,
      CKA_ISSUER: issuer,
      CKA_SERIAL_NUMBER: serialNumber,
      CKA_VALUE: der,
    },
    omit,
  )
}

/** The key types that a token says it can generate. */
export function offeredKeyTypes(api: PKCS11, slot: Handle): readonly KeyType[] {
  const mechanisms = new Set(api.C_GetMechanismList(slot))
  return keyTypeNames.filter((name) => {
    const { generation, size } = keyTypes[name]
    if (!mechanisms.has(generation)) return false
    const { minKeySize, maxKeySize } = api.C_GetMechanismInfo(slot, generation)
    return size >= minKeySize && size <= maxKeySize
  })
}

function named({ keyId, label }: ObjectName): { CKA_ID: Buffer; CKA_LABEL: string } {
  return { CKA_ID: Buffer.from(keyId, 'hex'), CKA_LABEL: label }
}
