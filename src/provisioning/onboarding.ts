import type { DeviceId } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import { openToken, type OpenTokenOptions } from '../hsm/open-token.ts'
import type { HsmToken } from '../hsm/token.ts'
import { readSecret, type SecretSource } from '../secret-source.ts'
import { proofByCertificate, proofBySymmetricKey, type RegistrationProof } from './registration-proof.ts'

/**
 * What a device shows to DPS that its enrollment goes by, where that is not the certificate it uses at the hub: DPS
 * does not know the certificates that the service itself issues.
 */
export type OnboardingCredential =
  /** The device's own key, Base64: of its individual enrollment, or derived from that of its group. */
  | { readonly symmetricKey: SecretSource }
  /** A certificate whose key is on a token, under a name of its own; the newest one, where there are several. */
  | {
      readonly certificate: {
        readonly token: OpenTokenOptions
        /** As the agent name of a key store; not that of the agent itself. */
        readonly keyName: string
      }
    }

/** Whom DPS is told that it is. */
interface Registrant {
  readonly registrationId: string
  readonly idScope: string
}

/** The shortest key that DPS takes, in bytes. */
const shortestKey = 16

/**
 * Opens what a registration is authenticated with, for as long as the work takes.
 *
 * @throws LeafkeeperError `DPS_KEY_MISSING`, and `HSM_*` where the token or its key cannot be used
 */
export async function withOnboarding<Result>(
  onboarding: OnboardingCredential,
  { registrationId, idScope }: Registrant,
  work: (proof: RegistrationProof) => Promise<Result>,
): Promise<Result> {
  if ('symmetricKey' in onboarding) {
    const key = await readSecret(onboarding.symmetricKey, (why, cause) => noKey(registrationId, why, cause))
    if (!isBase64(key.reveal()))
      throw noKey(registrationId, `expected Base64 of at least ${shortestKey} bytes`)
    return work(proofBySymmetricKey(registrationId, idScope, key))
  }
  const { token: options, keyName } = onboarding.certificate
  const token = await openToken(options)
  try {
    return await work(await proofOnToken(token, keyName, registrationId as DeviceId))
  } finally {
    await token.close()
  }
}

async function proofOnToken(
  token: HsmToken,
  keyName: string,
  commonName: DeviceId,
): Promise<RegistrationProof> {
  const keys = token.keyStore(keyName)
  const complete = (await keys.list()).filter(
    ({ chain, hasPrivateKey }) => chain !== undefined && hasPrivateKey,
  )
  const newest = complete.at(-1)
  if (newest?.chain === undefined)
    throw new LeafkeeperError('HSM_KEY_NOT_FOUND', {
      message: `Expected an onboarding key with its certificate under the name ${keyName} on the token ${token.description.label}; there is none.`,
    })
  const { chain, keyId } = newest
  const keyUri = keys.keyUri(keyId)
  return proofByCertificate({
    commonName,
    chain,
    keyUri,
    secureContext: (trustedAuthorities) => token.tls.secureContext(keyUri, chain, trustedAuthorities),
  })
}

function isBase64(text: string): boolean {
  return /^[A-Za-z0-9+/]+={0,2}$/.test(text) && Buffer.from(text, 'base64').length >= shortestKey
}

function noKey(registrationId: string, why: string, cause?: unknown): LeafkeeperError {
  return new LeafkeeperError('DPS_KEY_MISSING', {
    message: `There is no symmetric key for ${registrationId}: ${why}.`,
    ...(cause === undefined ? {} : { cause }),
  })
}
