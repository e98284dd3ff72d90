import { createPublicKey, randomBytes, verify } from 'node:crypto'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { KeyStore, KeyType, StoredGeneration } from '../hsm/key-store.ts'
import { keyTypeNames } from '../hsm/key-types.ts'
import type { HsmToken } from '../hsm/token.ts'
import { handshakeLocally } from './local-handshake.ts'
import { selfSigned } from './throw-away-certificate.ts'

/** What leafkeeper asks of a token, for each type of key; later ones need the earlier. */
export const capabilityNames = [
  'generate',
  'guard',
  'sign',
  'certificate',
  'TLS 1.2',
  'TLS 1.3',
  'destroy',
] as const

export type CapabilityName = (typeof capabilityNames)[number]

/** The token's answer to one question. */
export interface CapabilityAnswer {
  readonly keyType: KeyType
  readonly capability: CapabilityName
  /** `untried` where an earlier answer leaves nothing to try. */
  readonly answer: 'yes' | 'no' | 'untried'
  /** Why not: the error's code, then its message. */
  readonly code?: string
  readonly message?: string
}

interface Bench {
  readonly token: HsmToken
  readonly keys: KeyStore
  readonly keyType: KeyType
  readonly number: number
  readonly name: string
}

const questions: Readonly<Record<CapabilityName, (bench: Bench) => Promise<void>>> = {
  async generate({ keys, number, keyType }) {
    const made = await keys.generate(number, keyType)
    must(
      made.hasPrivateKey && made.publicKey !== undefined,
      'a key pair was made, but only half of it is seen',
    )
  },
  async guard(bench) {
    const guarded = await bench.keys.protection((await generation(bench)).keyId)
    must(guarded.sensitive && !guarded.extractable, 'the token says that the private key may leave it')
  },
  async sign(bench) {
    const signer = await bench.keys.signer((await generation(bench)).keyId)
    const key = createPublicKey({ key: Buffer.from(signer.publicKey), format: 'der', type: 'spki' })
    // All that TLS and requests ask for.
    for (const hash of ['SHA-256', 'SHA-384'] as const) {
      const data = randomBytes(300)
      const signature = await signer.sign(data, hash)
      const isRight = verify(hash.replace('-', ''), data, { key, dsaEncoding: 'ieee-p1363' }, signature)
      must(isRight, `its signature with ${hash} does not verify`)
    }
  },
  async certificate(bench) {
    const { keyId } = await generation(bench)
    const chain = await selfSigned(await bench.keys.signer(keyId), bench.name)
    await bench.keys.storeCertificate(keyId, chain)
    const found = (await generation(bench)).chain
    must(bare(found) === bare(chain), 'the certificate that was stored is not the one that is read')
  },
  'TLS 1.2': (bench) => handshake(bench, 'TLSv1.2'),
  'TLS 1.3': (bench) => handshake(bench, 'TLSv1.3'),
  async destroy(bench) {
    await bench.keys.destroy((await generation(bench)).keyId)
    must(
      (await bench.keys.list()).every((one) => one.number !== bench.number),
      'something of the key is left',
    )
  },
}

/**
 * Asks a token all that leafkeeper needs of it, with key pairs of its own that are destroyed again, whatever happens.
 * Other objects are not looked at. Binds the TLS of this process to the token's module.
 *
 * @returns One answer for each type of key and capability
 * @throws LeafkeeperError where the keys of the trial could not be destroyed: it names them
 * @example
 * ```ts
 * const answers = await askCapabilities(await openToken({ module, token, pin }))
 * const missing = answers.filter(({ answer }) => answer === 'no')
 * ```
 */
export async function askCapabilities(
  token: HsmToken,
  keyTypes: readonly KeyType[] = keyTypeNames,
): Promise<readonly CapabilityAnswer[]> {
  const name = `leafkeeper-trial-${randomBytes(4).toString('hex')}`
  const keys = token.keyStore(name)
  const answers: CapabilityAnswer[] = []
  try {
    for (const [index, keyType] of keyTypes.entries())
      answers.push(...(await askFor({ token, keys, keyType, number: index + 1, name })))
  } finally {
    await clear(keys, name)
  }
  return answers
}

async function askFor(bench: Bench): Promise<CapabilityAnswer[]> {
  const { keyType } = bench
  const answers: CapabilityAnswer[] = []
  for (const capability of capabilityNames) {
    if (answers.some(({ answer, capability: asked }) => answer === 'no' && isBasic(asked))) {
      answers.push({ keyType, capability, answer: 'untried' })
      continue
    }
    try {
      await questions[capability](bench)
      answers.push({ keyType, capability, answer: 'yes' })
    } catch (error) {
      const code = error instanceof LeafkeeperError ? error.code : 'TLS_KEY_UNUSABLE'
      answers.push({ keyType, capability, answer: 'no', code, message: messageOf(error) })
    }
  }
  return answers
}

/** Without these there is nothing to try the others with. */
function isBasic(capability: CapabilityName): boolean {
  return capability === 'generate' || capability === 'certificate'
}

async function handshake(bench: Bench, version: 'TLSv1.2' | 'TLSv1.3'): Promise<void> {
  const { keyId, chain } = await generation(bench)
  if (chain === undefined) throw wrong('its certificate is not on the token')
  const keyUri = bench.keys.keyUri(keyId)
  const spoken = await handshakeLocally(bench.token.tls, { keyUri, chain, version })
  must(spoken === version, `the other side speaks ${spoken}`)
}

async function generation({ keys, number }: Bench): Promise<StoredGeneration> {
  const found = (await keys.list()).find((one) => one.number === number)
  if (found === undefined) throw wrong('the token does not list the key pair that it made')
  return found
}

async function clear(keys: KeyStore, name: string): Promise<void> {
  try {
    for (const { keyId } of await keys.list()) await keys.destroy(keyId)
  } catch (cause) {
    throw new LeafkeeperError('HSM_DEVICE_ERROR', {
      message: `The keys of the trial, labelled ${name}, could not all be destroyed; do it with the token's own tool.`,
      cause,
    })
  }
}

function must(isSo: boolean, otherwise: string): void {
  if (!isSo) throw wrong(otherwise)
}

function wrong(message: string): LeafkeeperError {
  return new LeafkeeperError('HSM_DEVICE_ERROR', {
    message: `Something is wrong with the token: ${message}.`,
  })
}

function bare(pem: string | undefined): string | undefined {
  return pem?.replace(/\s/g, '')
}
