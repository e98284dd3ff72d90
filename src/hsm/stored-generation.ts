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
  generation: IndexedGeneration,
): StoredGeneration {
  const { keyId, number, objects } = generation
  const publicObject = objects.find(({ kind }) => kind === 'public')
  const publicKey = publicObject && readPublicKey(api, session, publicObject.handle)
  const privateKey = objects.find(({ kind }) => kind === 'private')
  if (privateKey !== undefined) checkIdentity(api, session, privateKey, keyId)
  return {
    keyId,
    number,
    keyType: publicKey?.keyType,
    publicKey: publicKey?.spki,
    hasPrivateKey: privateKey !== undefined,
    chain: publicKey && chainOf(publicKey.spki, dersOf(api, session, generation)),
  }
}

/**
 * Reads what the token holds of one agent, one generation a number. Labels and ids are only what somebody wrote there:
 * a key whose certificate is under another `CKA_ID` is matched with it by the public key, and of several objects that
 * claim the same number those count that can work. The others are left as they are.
 */
export function readGenerations(
  api: PKCS11,
  session: Handle,
  generations: readonly IndexedGeneration[],
): readonly StoredGeneration[] {
  let anywhere: readonly Buffer[] | undefined
  const best = new Map<number, StoredGeneration>()
  for (const generation of generations) {
    const own = readGeneration(api, session, generation)
    const { publicKey, chain } = own
    const stored =
      publicKey === undefined || chain !== undefined
        ? own
        : {
            ...own,
            chain: chainOf(
              publicKey,
              (anywhere ??= generations.flatMap((each) => dersOf(api, session, each))),
            ),
          }
    const other = best.get(generation.number)
    if (other === undefined || worthOf(stored) > worthOf(other)) best.set(generation.number, stored)
  }
  return [...best.values()]
}

/** A key without its certificate may get it again; a certificate without its key is of no use. */
function worthOf({ hasPrivateKey, chain }: StoredGeneration): number {
  return (hasPrivateKey ? 2 : 0) + (chain === undefined ? 0 : 1)
}

function dersOf(api: PKCS11, session: Handle, { objects }: IndexedGeneration): readonly Buffer[] {
  return readCertificates(api, session, objects).map(({ der }) => der)
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
