/**
 * Objects that hold nothing but their place, for modules that name objects by their place (tpm2-pkcs11 1.9.0, token.c:
 * token_add_tobject). There a new object gets the handle of one that was destroyed. libp11 keeps the handles of keys
 * that it has seen for the life of the process, and so never sees the new key (0.4.12, p11_key.c: pkcs11_init_key).
 * And where the first object of the token was destroyed, new ones get handles that others have.
 */
import pkcs11, { type Handle, type PKCS11, type Template } from 'pkcs11js'
import { findObjects, template } from './attributes.ts'

const label = 'leafkeeper holds a place'

/** Sees to it that the first object of the token is one that stays. Call it before the first key is made. */
export function holdFirstPlace(api: PKCS11, session: Handle): void {
  if (findObjects(api, session, []).length === 0) holdPlace(api, session)
}

/** Takes the place of an object that was just destroyed. */
export function holdPlace(api: PKCS11, session: Handle): void {
  // The module wants data to be private.
  const value = { CKA_TOKEN: true, CKA_PRIVATE: true, CKA_VALUE: Buffer.from('-') }
  api.C_CreateObject(session, [...mark(), ...template(value)])
}

/** Lets go of the places that earlier processes held, but for the first. Call it before TLS has seen a key. */
export function freePlaces(api: PKCS11, session: Handle): void {
  for (const place of findObjects(api, session, mark()).slice(1)) api.C_DestroyObject(session, place)
}

function mark(): Template {
  return template({ CKA_CLASS: pkcs11.CKO_DATA, CKA_LABEL: label })
}
