import { generateKeyPairSync, sign, type KeyPairKeyObjectResult } from 'node:crypto'
import type { HsmSigner, KeyType } from '../../src/hsm/key-store.ts'

const makers: Readonly<Record<KeyType, () => KeyPairKeyObjectResult>> = {
  'EC-P256': () => generateKeyPairSync('ec', { namedCurve: 'P-256' }),
  'EC-P384': () => generateKeyPairSync('ec', { namedCurve: 'P-384' }),
  'RSA-2048': () => generateKeyPairSync('rsa', { modulusLength: 2048 }),
  'RSA-3072': () => generateKeyPairSync('rsa', { modulusLength: 3072 }),
}

/** A signer as the HSM gives one, with its key in memory: for tests of what is signed, not of who signs. */
export function softwareSigner(keyType: KeyType = 'EC-P256'): HsmSigner {
  const { privateKey, publicKey } = makers[keyType]()
  return {
    keyType,
    publicKey: Uint8Array.from(publicKey.export({ type: 'spki', format: 'der' })),
    sign: (data, hash) =>
      Promise.resolve(
        Uint8Array.from(sign(hash.replace('-', ''), data, { key: privateKey, dsaEncoding: 'ieee-p1363' })),
      ),
  }
}
