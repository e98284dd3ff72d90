import { LeafkeeperError, messageOf } from '../errors.ts'

/** What was asked of the TPM. */
export type TpmWork = 'readKeys' | 'activate' | 'sign'

/** An error of `tss.js`, or of the official client, as far as it is told apart. */
interface TssError extends Error {
  /** Without the bits that say which handle, parameter or session it is about. */
  readonly responseCode?: number
  readonly tpmCommand?: string
  /** Where the client has wrapped the error of `tss.js`. */
  readonly tpmError?: TssError
}

const highestCode = 0xfff
/** Bits of a response code (TPM 2.0 library, part 2, 6.6): format one, and a warning, which passes. */
const formatOne = 0x080
const warning = 0x900
/** The commands that look into what DPS has sent. */
const takesIn: ReadonlySet<string | undefined> = new Set(['ActivateCredential', 'Import', 'Load'])
/** `TPM_RC_HANDLE`: the command names a key that is not there. */
const noSuchHandle = 0x08b

/**
 * Why work with a TPM failed, as one of our own errors.
 *
 * @param lastError What the last command failed with: the client throws something else where it did not expect it.
 */
export function tpmFailure(
  thrown: unknown,
  work: TpmWork,
  { lastError, codeName }: { lastError: Error | null; codeName: (code: number) => string | undefined },
): LeafkeeperError {
  if (thrown instanceof LeafkeeperError) return thrown
  if (lastError instanceof LeafkeeperError) return lastError
  const error = (thrown instanceof Error ? thrown : new Error(messageOf(thrown))) as TssError
  if (error.name === 'InvalidOperationError') return new LeafkeeperError('TPM_KEY_MISSING', { cause: error })
  const candidates: readonly (TssError | null | undefined)[] = [error, error.tpmError, lastError]
  const ofTpm = candidates.find((each) => typeof each?.responseCode === 'number')
  const code = ofTpm?.responseCode
  if (code === undefined)
    return new LeafkeeperError('TPM_DEVICE_ERROR', {
      message: `The TPM client failed: ${messageOf(thrown)}.`,
      cause: thrown,
    })
  const reason = `TPM_RC_${codeName(code) ?? code.toString(16)}`
  const details = {
    cause: ofTpm,
    reason,
    message: `${ofTpm?.tpmCommand ?? 'A command'} of the TPM failed with ${reason}.`,
  }
  if (work === 'sign' && code === noSuchHandle) return new LeafkeeperError('TPM_KEY_MISSING', details)
  // Above the codes of a TPM are those of tss.js, for a response that is malformed.
  const passes = code > highestCode || ((code & formatOne) === 0 && (code & warning) === warning)
  if (work === 'activate' && takesIn.has(ofTpm?.tpmCommand) && !passes)
    return new LeafkeeperError('TPM_ACTIVATION_FAILED', details)
  return new LeafkeeperError('TPM_DEVICE_ERROR', details)
}
