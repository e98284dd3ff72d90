import { readFile } from 'node:fs/promises'
import { readCertificate } from '../certificate/read-certificate.ts'
import { LeafkeeperError, messageOf } from '../errors.ts'
import type { KeyStore } from '../hsm/key-store.ts'
import type { HsmToken } from '../hsm/token.ts'

/** A key pair on the token that becomes the device's first generation. */
export interface AdoptOptions {
  /** The private key: an RFC 7512 URI with `id`, `object` or both, such as `pkcs11:object=device-key`. */
  readonly key: string
  /** PEM file with its certificate, leaf first, and the authorities between it and the root. Default: on the token. */
  readonly certificate?: { readonly file: string }
}

/** What an adoption needs of its agent. */
export interface AdoptionParts {
  readonly token: HsmToken
  readonly keyStore: KeyStore
  readonly agentName: string
  readonly commonName: string
  /** The number of the generation; never one that was used before. */
  readonly number: number
}

/**
 * Adopts a key where the device has no whole generation yet; afterwards this does nothing, so the option may stay.
 *
 * @throws LeafkeeperError `HSM_KEY_NOT_FOUND` where neither is there, `CERT_COMMON_NAME_CHANGED`, `CERT_KEY_MISMATCH`,
 * `AGENT_CONFIG_INVALID`, `HSM_KEY_EXISTS`
 */
export async function adopt(
  { key, certificate }: AdoptOptions,
  { token, keyStore, agentName, commonName, number }: AdoptionParts,
): Promise<void> {
  const stored = await keyStore.list()
  if (stored.some((generation) => generation.hasPrivateKey && generation.chain !== undefined)) return
  const chain = certificate === undefined ? undefined : await readPem(certificate.file)
  const adopted = await token.adopt(chain === undefined ? { key } : { key, chain }, {
    agentName,
    number: stored.find((generation) => generation.hasPrivateKey)?.number ?? number,
    check: (found) => requireName(found, commonName),
  })
  if (adopted) return
  throw new LeafkeeperError('HSM_KEY_NOT_FOUND', {
    message: `Expected the key to adopt on token "${token.description.label}", or a generation of ${agentName}; there is neither.`,
  })
}

function requireName(chain: string, expected: string): void {
  const { commonName } = readCertificate(chain)
  if (commonName === expected) return
  throw new LeafkeeperError('CERT_COMMON_NAME_CHANGED', {
    message: `The certificate to adopt is for ${commonName === undefined ? 'nobody, or for more than one' : JSON.stringify(commonName)}; expected ${JSON.stringify(expected)}, the registration id.`,
  })
}

async function readPem(file: string): Promise<string> {
  try {
    return await readFile(file, 'utf8')
  } catch (cause) {
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: `Expected adopt.certificate.file to be a PEM file that can be read: ${messageOf(cause)}.`,
      cause,
    })
  }
}
