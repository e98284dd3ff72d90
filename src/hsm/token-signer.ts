import { createHash } from 'node:crypto'
import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import type { HsmSigner, KeyType } from './key-store.ts'

type Hash = Parameters<HsmSigner['sign']>[1]

/** The largest signature of any key type: RSA-3072. */
const signatureLimit = 512

const hashes: Readonly<Record<Hash, { node: string; digestInfo: string }>> = {
  // DER of DigestInfo up to the digest (RFC 8017, 9.2, note 1).
  'SHA-256': { node: 'sha256', digestInfo: '3031300d060960864801650304020105000420' },
  'SHA-384': { node: 'sha384', digestInfo: '3041300d060960864801650304020205000430' },
  'SHA-512': { node: 'sha512', digestInfo: '3051300d060960864801650304020305000440' },
}

/** pkcs11js hands plain pointers to its worker: what it reads and writes must stay referenced until it is done. */
const inUse = new Set<Buffer>()

/**
 * Hashes here and signs on the token, off the event loop. Only CKM_ECDSA and CKM_RSA_PKCS are used, since not every
 * module hashes by itself (SoftHSM 2.6.1 has no CKM_ECDSA_SHA256).
 *
 * @returns `r || s` for EC, PKCS#1 v1.5 for RSA
 */
export async function signOnToken(
  api: PKCS11,
  session: Handle,
  key: Handle,
  { keyType, data, hash }: { keyType: KeyType; data: Uint8Array; hash: Hash },
): Promise<Uint8Array> {
  const { node, digestInfo } = hashes[hash]
  const digest = createHash(node).update(data).digest()
  const isEc = keyType.startsWith('EC-')
  const input = isEc ? leftmost(digest, keyType) : Buffer.concat([Buffer.from(digestInfo, 'hex'), digest])
  const output = Buffer.alloc(signatureLimit)
  inUse.add(input).add(output)
  try {
    api.C_SignInit(session, { mechanism: isEc ? pkcs11.CKM_ECDSA : pkcs11.CKM_RSA_PKCS }, key)
    return Uint8Array.from(await api.C_SignAsync(session, input, output))
  } finally {
    inUse.delete(input)
    inUse.delete(output)
  }
}

/** ECDSA uses the leftmost bits of a digest that is longer than the curve's order (FIPS 186-5, 6.4.1). */
function leftmost(digest: Buffer, keyType: KeyType): Buffer {
  return digest.subarray(0, keyType === 'EC-P256' ? 32 : 48)
}
