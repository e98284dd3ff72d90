import { createRequire } from 'node:module'
import type azureTpm from 'azure-iot-security-tpm'
import { LeafkeeperError, messageOf } from '../errors.ts'

/** The part of a `tss.js` device that `tss.js` calls. */
export interface TssDevice {
  connect(done: () => void): void
  dispatchCommand(command: Buffer, done: (error: Error | null, response?: Buffer) => void): void
  close(): void
}

/** The part of a `tss.js` TPM that is touched here; the official client calls its other methods. */
export interface TssTpm {
  device: TssDevice
  /** Why the last command failed; `null` where it did not. */
  readonly lastError: Error | null
}

/** The part of `tss.js` that is used here. */
interface Tss {
  readonly Tpm: new (useSimulator: boolean) => TssTpm
  /** The names of response codes by their numbers. */
  readonly TPM_RC: Readonly<Record<number, string | undefined>>
}

/** The official packages that speak with a TPM. */
export interface TpmPackage {
  readonly TpmSecurityClient: typeof azureTpm.TpmSecurityClient
  readonly tss: Tss
}

const name = 'azure-iot-security-tpm'

/**
 * Loads the official TPM client, an optional peer dependency: only devices that attest by a TPM need it, and what it
 * brings along does not compile everywhere.
 *
 * @throws LeafkeeperError `TPM_PACKAGE_MISSING`
 */
export async function loadTpmPackage(): Promise<TpmPackage> {
  try {
    const { default: azure } = await import('azure-iot-security-tpm')
    // The copy that the client itself uses: it is no dependency of ours.
    const requireBesideIt = createRequire(createRequire(import.meta.url).resolve(name))
    return { TpmSecurityClient: azure.TpmSecurityClient, tss: requireBesideIt('tss.js') as Tss }
  } catch (cause) {
    throw new LeafkeeperError('TPM_PACKAGE_MISSING', {
      message: `Expected the package ${name} for TPM attestation; loading it failed: ${firstLine(messageOf(cause))}.`,
      cause,
    })
  }
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? ''
}
