import {
  constants,
  createDecipheriv,
  createHash,
  createHmac,
  generateKeyPairSync,
  privateDecrypt,
  type KeyObject,
} from 'node:crypto'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { SimulatedCloud } from 'leafkeeper-sim'
import { createSas } from '../../sim/http/sas.ts'
import { rawHttp, type RawAnswer } from './raw-http.ts'

/** A storage key of a TPM: what a TPM keeps, and what it shows (TPM2B_PUBLIC). */
interface StorageKey {
  readonly privateKey: KeyObject
  readonly area: Buffer
  readonly base64: string
}

let cloud: SimulatedCloud

beforeAll(async () => {
  cloud = await SimulatedCloud.start()
})
afterAll(() => cloud.close())

function storageKey(): StorageKey {
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
function activate(blob: Buffer, endorsement: StorageKey, storageRoot: StorageKey): Buffer {
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

it('gives a TPM, and no other, the key to sign its registration with, then the key of its hub', async () => {
  const [endorsement, storageRoot, stranger] = [storageKey(), storageKey(), storageKey()]
  const registrationId = 'tpm-1'
  cloud.dps.enrollments.put({
    registrationId,
    attestation: { type: 'tpm', endorsementKey: endorsement.base64 },
  })
  const resource = `${cloud.idScope}/registrations/${registrationId}`
  const call = async (
    path: string,
    method: string,
    token?: string,
    endorsementKey = endorsement.base64,
  ): Promise<RawAnswer> =>
    rawHttp(cloud, {
      host: cloud.provisioningHost,
      method,
      path: `/${resource}${path}?api-version=2019-03-31`,
      headers: token === undefined ? {} : { authorization: token },
      ...(method === 'GET'
        ? {}
        : { body: { registrationId, tpm: { endorsementKey, storageRootKey: storageRoot.base64 } } }),
    })
  const keyIn = (text: unknown): Buffer =>
    activate(Buffer.from(String(text), 'base64'), endorsement, storageRoot)
  const expiry = Math.floor(Date.now() / 1000) + 60

  expect((await call('/register', 'PUT', undefined, stranger.base64)).json).toMatchObject({
    errorCode: 401002,
  })
  expect((await call('/register', 'PUT', undefined, 'nonsense')).status).toBe(401)
  const challenge = await call('/register', 'PUT')
  expect(challenge).toMatchObject({ status: 401, json: { keyName: 'registration' } })
  const key = keyIn(challenge.json['authenticationKey']).toString('base64')
  const wrong = createSas(resource, Buffer.alloc(32).toString('base64'), expiry, 'registration')
  expect((await call('/register', 'PUT', wrong)).status).toBe(401)

  const token = createSas(resource, key, expiry, 'registration')
  const accepted = await call('/register', 'PUT', token)
  expect(accepted.status).toBe(202)
  const operation = `/operations/${String(accepted.json['operationId'])}`
  expect((await call(operation, 'GET')).status).toBe(401)
  const { json } = await call(operation, 'GET', token)
  const state = json['registrationState'] as { assignedHub: string; tpm: { authenticationKey: string } }
  const hubKey = keyIn(state.tpm.authenticationKey).toString('base64')
  const { authentication } = cloud.hub(state.assignedHub).registry.get(registrationId) ?? {}
  expect(authentication).toMatchObject({ type: 'sas', symmetricKey: { primaryKey: hubKey } })
})
