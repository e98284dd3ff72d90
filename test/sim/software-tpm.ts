/** A TPM in software, as far as DPS needs one. */
import {
  constants,
  createDecipheriv,
  createHash,
  createHmac,
  generateKeyPairSync,
  privateDecrypt,
  type KeyObject,
} from 'node:crypto'
import { expect } from 'vitest'

/** A storage key of a TPM: what a TPM keeps, and what it shows (TPM2B_PUBLIC). */
export interface StorageKey {
  readonly privateKey: KeyObject
  readonly area: Buffer
  readonly base64: string
}

export function storageKey(): StorageKey {
  const { privateKey, publicKey } = generateKeyPairSync('rsa', { modulusLength: 2048 })
  const modulus = Buffer.from(publicKey.export({ format: 'jwk' }).n ?? '', 'base64url')
  const area = Buffer.concat([
    Buffer.from('0001000b000300720000' + '000600800043' + '0010080000000000', 'hex'),
    sized(modulus),
  ])
  return { privateKey, area, base64: sized(area).toString('base64') }
}

function sized(content: Buffer): Buffer {
  const size = Buffer.alloc(2)
  size.writeUInt16BE(content.length)
  return Buffer.concat([size, content])
}

function parts(blob: Buffer): Buffer[] {
  const found: Buffer[] = []
  for (let at = 0; at < blob.length; at += 2 + blob.readUInt16BE(at)) {
    found.push(blob.subarray(at + 2, at + 2 + blob.readUInt16BE(at)))
  }
  return found
}

function part(list: readonly Buffer[], index: number): Buffer {
  const found = list[index]
  if (found === undefined) throw new Error(`There is no part ${String(index)}.`)
  return found
}

function kdf(key: Buffer, label: string, context: Buffer, bits: number): Buffer {
  const size = Buffer.alloc(4)
  size.writeUInt32BE(bits)
  return createHmac('sha256', key)
    .update(Buffer.concat([Buffer.from([0, 0, 0, 1]), Buffer.from(`${label}\0`), context, size]))
    .digest()
    .subarray(0, bits / 8)
}

function decrypt(key: Buffer, encrypted: Buffer): Buffer {
  const cipher = createDecipheriv('aes-128-cfb', key, Buffer.alloc(16))
  return Buffer.concat([cipher.update(encrypted), cipher.final()])
}

function seedOf(key: StorageKey, encrypted: Buffer, label: string): Buffer {
  const oaepLabel = Buffer.from(`${label}\0`)
  const padding = constants.RSA_PKCS1_OAEP_PADDING
  return privateDecrypt({ key: key.privateKey, padding, oaepHash: 'sha256', oaepLabel }, encrypted)
}

function nameOf(area: Buffer): Buffer {
  return Buffer.concat([Buffer.from('000b', 'hex'), createHash('sha256').update(area).digest()])
}

/** What a TPM does in ActivateCredential and Import, with every check that it makes. */
export function activate(blob: Buffer, endorsement: StorageKey, storageRoot: StorageKey): Buffer {
  const list = parts(blob)
  expect(list.map(({ length }) => length)).toEqual([52, 256, 142, 256, 48, 108])
  const [mac, credential] = [part(list, 0).subarray(2, 34), part(list, 0).subarray(34)]
  const seed = seedOf(endorsement, part(list, 1), 'IDENTITY')
  const rootName = nameOf(storageRoot.area)
  const macKey = kdf(seed, 'INTEGRITY', Buffer.alloc(0), 256)
  expect(createHmac('sha256', macKey).update(credential).update(rootName).digest()).toEqual(mac)
  const innerKey = decrypt(kdf(seed, 'STORAGE', rootName, 128), credential).subarray(2)
  const name = nameOf(part(list, 4))
  const [outerMac, outer] = [part(list, 2).subarray(2, 34), part(list, 2).subarray(34)]
  const outerSeed = seedOf(storageRoot, part(list, 3), 'DUPLICATE')
  const outerKey = kdf(outerSeed, 'INTEGRITY', Buffer.alloc(0), 256)
  expect(createHmac('sha256', outerKey).update(outer).update(name).digest()).toEqual(outerMac)
  const inner = decrypt(innerKey, decrypt(kdf(outerSeed, 'STORAGE', name, 128), outer))
  const [digest, sensitive] = [inner.subarray(2, 34), inner.subarray(34)]
  expect(createHash('sha256').update(sensitive).update(name).digest()).toEqual(digest)
  const fields = parts(sensitive.subarray(4))
  const unique = createHash('sha256').update(part(fields, 1)).update(part(fields, 2)).digest()
  expect(part(list, 4).subarray(-32)).toEqual(unique)
  return part(fields, 2)
}
