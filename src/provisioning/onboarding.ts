import type { DeviceId } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import { readSecret, type SecretSource } from '../secret-source.ts'
import { withTokenCertificate, type TokenCertificate } from '../transport/token-credential.ts'
import { proofByCertificate, proofBySymmetricKey, type RegistrationProof } from './registration-proof.ts'

/**
 * What a device shows to DPS that its enrollment goes by, where that is not the certificate it uses at the hub: DPS
 * does not know the certificates that the service itself issues.
 */
export type OnboardingCredential =
  /** The device's own key, Base64: of its individual enrollment, or derived from that of its group. */
  { readonly symmetricKey: SecretSource } | { readonly certificate: TokenCertificate }

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
  return withTokenCertificate(onboarding.certificate, registrationId as DeviceId, (credential) =>
    work(proofByCertificate(credential)),
  )
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
