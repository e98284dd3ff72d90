import { createPublicKey, webcrypto } from 'node:crypto'

/** The kinds of key that authorities and key-file devices can have. */
export type KeyType = 'P-256' | 'P-384' | 'RSA-2048' | 'RSA-3072'

/** How a kind of key is generated, and how it signs certificates. */
export type SigningAlgorithm =
  | { readonly name: 'ECDSA'; readonly namedCurve: string; readonly hash: string }
  | {
      readonly name: 'RSASSA-PKCS1-v1_5'
      readonly modulusLength: number
      readonly publicExponent: Uint8Array
      readonly hash: string
    }

/** The WebCrypto algorithm of a kind of key, with the digest it signs with. */
export function signingAlgorithm(keyType: KeyType): SigningAlgorithm {
  switch (keyType) {
    case 'P-256':
      return { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
    case 'P-384':
      return { name: 'ECDSA', namedCurve: 'P-384', hash: 'SHA-384' }
    case 'RSA-2048':
    case 'RSA-3072':
      return {
        name: 'RSASSA-PKCS1-v1_5',
        modulusLength: keyType === 'RSA-2048' ? 2048 : 3072,
        publicExponent: new Uint8Array([1, 0, 1]),
        hash: 'SHA-256',
      }
  }
}

/** A key pair in memory: for authorities, servers, and devices that keep their key in a file. */
export interface KeyFile {
  readonly keyType: KeyType
  readonly publicKey: webcrypto.CryptoKey
  readonly privateKey: webcrypto.CryptoKey
  /** PKCS#8, as `tls.connect` and the device SDKs take it. */
  readonly privateKeyPem: string
}

/**
 * Makes a key pair whose private key can be read, to stand beside devices whose key cannot.
 *
 * @example
 * ```ts
 * const key = await generateKeyFile('P-256')
 * const leaf = await authority.issueLeaf({ publicKey: key.publicKey, commonName: 'device-1' })
 * ```
 */
export async function generateKeyFile(keyType: KeyType = 'P-256'): Promise<KeyFile> {
  const { publicKey, privateKey } = await webcrypto.subtle.generateKey(signingAlgorithm(keyType), true, [
    'sign',
    'verify',
  ])
  const der = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', privateKey))
  const lines = der.toString('base64').replace(/.{64}(?=.)/g, '$&\n')
  return {
    keyType,
    publicKey,
    privateKey,
    privateKeyPem: `-----BEGIN PRIVATE KEY-----\n${lines}\n-----END PRIVATE KEY-----\n`,
  }
}

/** Reads a key pair that was kept: the private key as PKCS#8 in PEM. */
export async function readKeyFile(keyType: KeyType, privateKeyPem: string): Promise<KeyFile> {
  const algorithm = signingAlgorithm(keyType)
  const der = Buffer.from(privateKeyPem.replace(/-----[^-]+-----|\s/g, ''), 'base64')
  const spki = createPublicKey(privateKeyPem).export({ type: 'spki', format: 'der' })
  const [privateKey, publicKey] = await Promise.all([
    webcrypto.subtle.importKey('pkcs8', der, algorithm, true, ['sign']),
    webcrypto.subtle.importKey('spki', spki, algorithm, true, ['verify']),
  ])
  return { keyType, publicKey, privateKey, privateKeyPem }
}
