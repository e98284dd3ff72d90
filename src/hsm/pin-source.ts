import { LeafkeeperError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { readSecret, type NamedSecretSource } from '../secret-source.ts'
import type { TokenDescription } from './key-store.ts'

/**
 * Where the user PIN of a token comes from: a file (its first line), an environment variable, a credential of systemd,
 * or a callback. A PIN never comes from a command line, where every user of the machine can read it.
 */
export type PinSource =
  NamedSecretSource | { readonly callback: (token: TokenDescription) => Secret | Promise<Secret> }

/**
 * Reads the PIN.
 *
 * @throws LeafkeeperError `HSM_PIN_MISSING`
 */
export async function readPin(source: PinSource, token: TokenDescription): Promise<Secret> {
  const ofToken = 'callback' in source ? { callback: () => source.callback(token) } : source
  return readSecret(
    ofToken,
    (why, cause) =>
      new LeafkeeperError('HSM_PIN_MISSING', {
        message: `There is no PIN for token "${token.label}": ${why}.`,
        ...(cause === undefined ? {} : { cause }),
      }),
  )
}
