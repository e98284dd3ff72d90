import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import { LeafkeeperError } from '../errors.ts'
import type { Secret } from '../secret.ts'
import { readSlots, type FoundToken } from './find-token.ts'
import type { TokenDescription } from './key-store.ts'
import { hsmError } from './pkcs11-error.ts'
import { Pkcs11Module } from './pkcs11-module.ts'
import { loadProfile, modulePath, type HsmProfile } from './profile.ts'

/** The token to make. */
export interface NewToken {
  /** Path of the PKCS#11 module, or a profile that knows where it may be. */
  readonly module: string | HsmProfile
  /** At most 32 bytes of UTF-8. */
  readonly label: string
  /** The user PIN, which agents log in with. */
  readonly pin: Secret
  /** The security officer's PIN, which can replace a user PIN that is locked. */
  readonly soPin: Secret
  readonly profile?: HsmProfile
}

/**
 * Makes a token in the module's first blank slot, inside this process, so that no PIN stands in an argument list.
 * An initialised token with this label is left as it is; one without a user PIN (an earlier call was cut off) gets
 * its PIN.
 *
 * Tokens are made before the process first uses TLS: OpenSSL's engine lists them once.
 *
 * @throws LeafkeeperError `HSM_MODULE_NOT_FOUND`, `HSM_MODULE_FAILED`, `HSM_TOKEN_NOT_FOUND` when no slot is blank,
 * `HSM_PIN_INCORRECT`, `AGENT_CONFIG_INVALID`
 */
export function initialiseToken(options: NewToken): TokenDescription {
  const path = typeof options.module === 'string' ? options.module : modulePath(options.module)
  const profile =
    options.profile ?? (typeof options.module === 'string' ? loadProfile('softhsm') : options.module)
  const { label, soPin } = options
  const padded = padLabel(label)
  const module = Pkcs11Module.open(path, profile)
  try {
    const named = (): FoundToken | undefined =>
      readSlots(module).find(
        ({ description, flags }) =>
          description.label === label && (flags & pkcs11.CKF_TOKEN_INITIALIZED) !== 0,
      )
    let token = named()
    const isBlank = token === undefined
    if (token === undefined) {
      const blank = readSlots(module).find(({ flags }) => (flags & pkcs11.CKF_TOKEN_INITIALIZED) === 0)
      if (blank === undefined) {
        throw new LeafkeeperError('HSM_TOKEN_NOT_FOUND', {
          message: `No slot of ${path} has a blank token to initialise.`,
        })
      }
      module.api.C_InitToken(blank.slot, soPin.reveal(), padded)
      // Slots may be numbered anew: SoftHSM adds another blank one.
      token = named()
    }
    if (token === undefined) {
      throw new LeafkeeperError('HSM_DEVICE_ERROR', {
        message: `The module ${path} initialised token "${label}" but does not list it.`,
      })
    }
    // tpm2-pkcs11 1.9.0 says of a token that was just initialised that it has a PIN.
    if (isBlank || (token.flags & pkcs11.CKF_USER_PIN_INITIALIZED) === 0)
      setPin(module.api, token.slot, options)
    return token.description
  } catch (thrown) {
    throw hsmError(thrown, `initialise token "${label}"`)
  } finally {
    module.close()
  }
}

function setPin(api: PKCS11, slot: Handle, { pin, soPin }: NewToken): void {
  const session = api.C_OpenSession(slot, pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION)
  try {
    api.C_Login(session, pkcs11.CKU_SO, soPin.reveal())
    try {
      api.C_InitPIN(session, pin.reveal())
    } finally {
      api.C_Logout(session)
    }
  } finally {
    api.C_CloseSession(session)
  }
}

/** C_InitToken wants 32 bytes, padded with blanks (PKCS#11 v2.40, 5.5). */
function padLabel(label: string): string {
  const bytes = Buffer.byteLength(label, 'utf8')
  if (bytes === 0 || bytes > 32 || label.trim() !== label) {
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message: `A token label has 1 to 32 bytes of UTF-8 and no blanks around it; ${JSON.stringify(label)} has ${bytes}.`,
    })
  }
  return label + ' '.repeat(32 - bytes)
}
