import { X509Certificate } from 'node:crypto'
import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import type { KeyId } from '../brands.ts'
import { readAttributes } from './attributes.ts'
import type { StoredGeneration } from './key-store.ts'
import type { IndexedGeneration, IndexedObject } from './object-index.ts'
import { toPem } from './pem.ts'
import { readPublicKey, toPublicKey } from './public-key.ts'

/** A certificate object and what is in it. */
export interface StoredCertificate {
  readonly object: IndexedObject
  readonly der: Buffer
}

/** Reads what the token holds of one generation. */
export function readGeneration(
  api: PKCS11,
  session: Handle,
  { keyId, number, objects }: IndexedGeneration,
): StoredGeneration {
  const publicObject = objects.find(({ kind }) => kind === 'public')
  const publicKey = publicObject && readPublicKey(api, session, publicObject.handle)
  const certificates = readCertificates(api, session, objects)
  const privateKey = objects.find(({ kind }) => kind === 'private')
  if (privateKey !== undefined) checkIdentity(api, session, privateKey, keyId)
  return {
    keyId,
    number,
    keyType: publicKey?.keyType,
    publicKey: publicKey?.spki,
    hasPrivateKey: privateKey !== undefined,
    chain:
      publicKey &&
      chainOf(
        publicKey.spki,
        certificates.map(({ der }) => der),
      ),
  }
}

/**
 * Makes sure that a remembered handle still names an object of this generation: handles are numbers, and a module may
 * give one again when somebody else has destroyed its object.
 *
 * @throws what pkcs11js throws for CKR_OBJECT_HANDLE_INVALID
 */
export function checkIdentity(api: PKCS11, session: Handle, { handle }: IndexedObject, keyId: KeyId): void {
  const { CKA_ID: id } = readAttributes(api, session, handle, ['CKA_ID'])
  if (id.toString('hex') === keyId) return
  throw new pkcs11.Pkcs11Error('CKR_OBJECT_HANDLE_INVALID:130', pkcs11.CKR_OBJECT_HANDLE_INVALID)
}

/** The certificates of one generation, in no order. */
export function readCertificates(
  api: PKCS11,
  session: Handle,
  objects: readonly IndexedObject[],
): readonly StoredCertificate[] {
  return objects
    .filter(({ kind }) => kind === 'certificate')
    .map((object) => ({ object, der: readAttributes(api, session, object.handle, ['CKA_VALUE']).CKA_VALUE }))
}

/**
 * The chain among certificates that share a `CKA_ID`: the leaf is the one for the public key, and each next one has
 * signed the one before. Modules return objects in any order and do not all keep labels, so only the certificates
 * themselves decide. Of two leaves (the key was certified again, and the old one is about to go) the later counts.
 */
export function chainOf(spki: Uint8Array, certificates: readonly Buffer[]): StoredGeneration['chain'] {
  const rest = certificates.flatMap((der) => readable(der) ?? [])
  const leaves = rest
    .filter(({ publicKey }) => Buffer.compare(toPublicKey(publicKey).spki, spki) === 0)
    .sort((one, other) => Date.parse(other.validFrom) - Date.parse(one.validFrom))
  let last = leaves[0]
  if (last === undefined) return undefined
  const chain: X509Certificate[] = []
  const others = new Set(rest.filter((certificate) => !leaves.includes(certificate)))
  while (last !== undefined) {
    const current: X509Certificate = last
    chain.push(current)
    others.delete(current)
    last = [...others].find((other) => current.checkIssued(other) && current.verify(other.publicKey))
  }
  return toPem(chain.map(({ raw }) => raw))
}

function readable(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}
