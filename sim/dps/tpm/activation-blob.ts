import {
  constants,
  createCipheriv,
  createHash,
  createHmac,
  createPublicKey,
  publicEncrypt,
  randomBytes,
  type KeyObject,
} from 'node:crypto'
import { ServiceError } from '../../errors.ts'
import type { TpmKeys } from './tpm-keys.ts'

/**
 * Encrypts an HMAC key so that only one TPM can take it in: a credential that TPM2_ActivateCredential opens, and a
 * duplicate for TPM2_Import (TPM 2.0 library, part 1, chapters 23 and 24). The parts stand one behind the other,
 * each with its size in front.
 *
 * @throws ServiceError 400 when the keys are no RSA storage keys
 */
export function activationBlob(keys: TpmKeys, secret: Buffer): Buffer {
  const endorsement = readStorageKey(keys.endorsementKey, 'The endorsement key')
  const storageRoot = readStorageKey(keys.storageRootKey, 'The storage root key')

  const innerKey = randomBytes(16)
  const credentialSeed = randomBytes(32)
  const credential = encryptCfb(
    keyDerivation(credentialSeed, 'STORAGE', storageRoot.name, 128),
    sized(innerKey),
  )
  const credentialMac = integrity(credentialSeed, credential, storageRoot.name)

  const seedValue = randomBytes(32)
  const publicArea = hmacKeyPublicArea(createHash('sha256').update(seedValue).update(secret).digest())
  const name = nameOf(publicArea)
  const sensitive = sized(
    Buffer.concat([Buffer.from([0x00, 0x08]), sized(Buffer.alloc(0)), sized(seedValue), sized(secret)]),
  )
  const innerIntegrity = createHash('sha256').update(sensitive).update(name).digest()
  const inner = encryptCfb(innerKey, Buffer.concat([sized(innerIntegrity), sensitive]))
  const duplicationSeed = randomBytes(32)
  const outer = encryptCfb(keyDerivation(duplicationSeed, 'STORAGE', name, 128), inner)
  const outerMac = integrity(duplicationSeed, outer, name)

  return Buffer.concat([
    sized(Buffer.concat([sized(credentialMac), credential])),
    sized(encryptSeed(endorsement.key, credentialSeed, 'IDENTITY')),
    sized(Buffer.concat([sized(outerMac), outer])),
    sized(encryptSeed(storageRoot.key, duplicationSeed, 'DUPLICATE')),
    sized(publicArea),
    // Encrypted for the service itself; clients pass over it.
    sized(randomBytes(108)),
  ])
}

/** A storage key: what seeds are encrypted to, and its name (algorithm and digest of the public area). */
interface StorageKey {
  readonly key: KeyObject
  readonly name: Buffer
}

/** Reads a TPM2B_PUBLIC with an RSA storage key in it (TPM 2.0 library, part 2, 12.2.4). */
function readStorageKey(base64: string, what: string): StorageKey {
  try {
    const all = Buffer.from(base64, 'base64')
    const area = all.subarray(2, 2 + all.readUInt16BE(0))
    if (area.readUInt16BE(0) !== 0x0001 || area.readUInt16BE(2) !== 0x000b)
      throw new Error('no RSA key with SHA-256')
    // Type, name algorithm, attributes, policy; then AES-128-CFB, no scheme, key bits, exponent, modulus.
    let at = 8
    at += 2 + area.readUInt16BE(at)
    at += 6
    if (area.readUInt16BE(at) !== 0x0010) throw new Error('no storage key')
    const exponent = area.readUInt32BE(at + 4)
    const modulus = area.subarray(at + 10, at + 10 + area.readUInt16BE(at + 8))
    if (modulus.length !== 256) throw new Error(`a modulus of ${modulus.length} bytes`)
    const e = Buffer.alloc(4)
    e.writeUInt32BE(exponent === 0 ? 65537 : exponent)
    const jwk = { kty: 'RSA', n: modulus.toString('base64url'), e: e.subarray(1).toString('base64url') }
    return { key: createPublicKey({ key: jwk, format: 'jwk' }), name: nameOf(area) }
  } catch (error) {
    const found = error instanceof Error ? error.message : String(error)
    throw new ServiceError(
      400,
      400000,
      `${what}: expected a TPM2B_PUBLIC of an RSA-2048 storage key, got ${found}.`,
    )
  }
}

/** The public area of an HMAC-SHA256 key that its user may use (`sign`, `noDA`, `userWithAuth`). */
function hmacKeyPublicArea(unique: Buffer): Buffer {
  return Buffer.concat([Buffer.from('0008000b0004044000000005000b', 'hex'), sized(unique)])
}

function nameOf(publicArea: Buffer): Buffer {
  return Buffer.concat([Buffer.from([0x00, 0x0b]), createHash('sha256').update(publicArea).digest()])
}

function encryptSeed(key: KeyObject, seed: Buffer, label: string): Buffer {
  return publicEncrypt(
    {
      key,
      padding: constants.RSA_PKCS1_OAEP_PADDING,
      oaepHash: 'sha256',
      oaepLabel: Buffer.from(`${label}\0`),
    },
    seed,
  )
}

function integrity(seed: Buffer, encrypted: Buffer, name: Buffer): Buffer {
  const key = keyDerivation(seed, 'INTEGRITY', Buffer.alloc(0), 256)
  return createHmac('sha256', key).update(encrypted).update(name).digest()
}

/** KDFa over SHA-256 (part 1, 11.4.10.2), for keys of at most 256 bits. */
export function keyDerivation(key: Buffer, label: string, context: Buffer, bits: 128 | 256): Buffer {
  const block = Buffer.concat([uint32(1), Buffer.from(`${label}\0`), context, uint32(bits)])
  return createHmac('sha256', key)
    .update(block)
    .digest()
    .subarray(0, bits / 8)
}

function encryptCfb(key: Buffer, plain: Buffer): Buffer {
  const cipher = createCipheriv('aes-128-cfb', key, Buffer.alloc(16))
  return Buffer.concat([cipher.update(plain), cipher.final()])
}

function sized(content: Buffer): Buffer {
  const size = Buffer.alloc(2)
  size.writeUInt16BE(content.length)
  return Buffer.concat([size, content])
}

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
