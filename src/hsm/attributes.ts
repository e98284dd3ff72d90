import pkcs11, { type Handle, type PKCS11, type Template } from 'pkcs11js'

const numbers = {
  CKA_CLASS: pkcs11.CKA_CLASS,
  CKA_TOKEN: pkcs11.CKA_TOKEN,
  CKA_PRIVATE: pkcs11.CKA_PRIVATE,
  CKA_LABEL: pkcs11.CKA_LABEL,
  CKA_ID: pkcs11.CKA_ID,
  CKA_KEY_TYPE: pkcs11.CKA_KEY_TYPE,
  CKA_SENSITIVE: pkcs11.CKA_SENSITIVE,
  CKA_EXTRACTABLE: pkcs11.CKA_EXTRACTABLE,
  CKA_ALWAYS_SENSITIVE: pkcs11.CKA_ALWAYS_SENSITIVE,
  CKA_NEVER_EXTRACTABLE: pkcs11.CKA_NEVER_EXTRACTABLE,
  CKA_SIGN: pkcs11.CKA_SIGN,
  CKA_DECRYPT: pkcs11.CKA_DECRYPT,
  CKA_UNWRAP: pkcs11.CKA_UNWRAP,
  CKA_DERIVE: pkcs11.CKA_DERIVE,
  CKA_VERIFY: pkcs11.CKA_VERIFY,
  CKA_ENCRYPT: pkcs11.CKA_ENCRYPT,
  CKA_WRAP: pkcs11.CKA_WRAP,
  CKA_EC_PARAMS: pkcs11.CKA_EC_PARAMS,
  CKA_EC_POINT: pkcs11.CKA_EC_POINT,
  CKA_MODULUS: pkcs11.CKA_MODULUS,
  CKA_MODULUS_BITS: pkcs11.CKA_MODULUS_BITS,
  CKA_PUBLIC_EXPONENT: pkcs11.CKA_PUBLIC_EXPONENT,
  CKA_CERTIFICATE_TYPE: pkcs11.CKA_CERTIFICATE_TYPE,
  CKA_SUBJECT: pkcs11.CKA_SUBJECT,
  CKA_ISSUER: pkcs11.CKA_ISSUER,
  CKA_SERIAL_NUMBER: pkcs11.CKA_SERIAL_NUMBER,
  CKA_VALUE: pkcs11.CKA_VALUE,
} as const

/** An attribute that leafkeeper reads or writes. */
export type AttributeName = keyof typeof numbers

/** A template for C_CreateObject and the like, without the attributes that a module refuses. */
export function template(
  values: Partial<Readonly<Record<AttributeName, number | boolean | string | Buffer>>>,
  omit: readonly string[] = [],
): Template {
  return Object.entries(values)
    .filter(([name]) => !omit.includes(name))
    .map(([name, value]) => ({ type: numbers[name as AttributeName], value }))
}

/** Reads attributes of one object, in the order asked for. An attribute the object lacks is an error. */
export function readAttributes<const Names extends readonly AttributeName[]>(
  api: PKCS11,
  session: Handle,
  object: Handle,
  names: Names,
): Readonly<Record<Names[number], Buffer>> {
  const values = api.C_GetAttributeValue(
    session,
    object,
    names.map((name) => ({ type: numbers[name] })),
  )
  return Object.fromEntries(
    names.map((name, index) => [name, Buffer.from(values[index]?.value ?? [])]),
  ) as Record<Names[number], Buffer>
}

/** A CK_ULONG attribute; its width is the machine's. */
export function toNumber(value: Buffer): number {
  return value.length === 0 ? 0 : value.readUIntLE(0, Math.min(value.length, 6))
}

/** The objects that match, all of them. */
export function findObjects(api: PKCS11, session: Handle, matching: Template): Handle[] {
  const found: Handle[] = []
  api.C_FindObjectsInit(session, matching)
  try {
    for (;;) {
      const some = api.C_FindObjects(session, 256)
      found.push(...some)
      if (some.length < 256) return found
    }
  } finally {
    api.C_FindObjectsFinal(session)
  }
}
