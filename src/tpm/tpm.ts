import { OneAtATime } from '../one-at-a-time.ts'
import { checkActivationBlob } from './activation-parts.ts'
import { OpenHandles } from './open-handles.ts'
import { kernelTpm, requireTpmAddress, type TpmAddress } from './tpm-address.ts'
import { openChannel } from './open-channel.ts'
import type { TpmWork } from './tpm-failure.ts'
import { loadTpmPackage, type TpmPackage } from './tpm-package.ts'
import { TpmSession, type Done } from './tpm-session.ts'

/** How to reach a TPM. */
export interface TpmOptions {
  /** Default: the kernel's, `/dev/tpmrm0`. */
  readonly address?: TpmAddress
  /** How long a command may take, in milliseconds. A TPM may need a minute to make its first key. Default 120 000. */
  readonly commandTimeoutMs?: number
}

/** The public keys of a TPM: each a TPM2B_PUBLIC. */
export interface TpmPublicKeys {
  readonly endorsementKey: Buffer
  readonly storageRootKey: Buffer
}

type Client = Parameters<Parameters<TpmSession['call']>[1]>[0]

const defaultCommandTimeoutMs = 120_000

/**
 * A TPM with the keys that DPS goes by, through the official client: the endorsement key at 0x81010001, the storage root
 * key at 0x81000001, the identity key at 0x81000100.
 *
 * Calls take turns, since neither the client nor a TPM does two things at once. One that fails is an error and nothing
 * more: what it left loaded in the TPM is flushed, and the next call begins on a new channel with a new client. The TPM
 * is held only while there are calls, because some let in one program at a time.
 */
export class Tpm {
  readonly #address: TpmAddress
  readonly #commandTimeoutMs: number
  readonly #tpmPackage: TpmPackage
  readonly #turns = new OneAtATime('TPM_CLOSED')
  readonly #handles = new OpenHandles()
  #session: TpmSession | undefined
  /** Calls that have not ended. */
  #wanted = 0

  private constructor(options: TpmOptions, tpmPackage: TpmPackage) {
    this.#address = options.address ?? kernelTpm
    this.#commandTimeoutMs = options.commandTimeoutMs ?? defaultCommandTimeoutMs
    this.#tpmPackage = tpmPackage
  }

  /**
   * Gets ready. The TPM itself is first spoken to when something is wanted of it.
   *
   * @throws LeafkeeperError `TPM_PACKAGE_MISSING`, `AGENT_CONFIG_INVALID`
   */
  static async open(options: TpmOptions): Promise<Tpm> {
    if (options.address !== undefined) requireTpmAddress(options.address)
    return new Tpm(options, await loadTpmPackage())
  }

  /**
   * Reads the public keys, and makes those that are not there.
   *
   * @throws LeafkeeperError `TPM_UNREACHABLE`, `TPM_TIMEOUT`, `TPM_DEVICE_ERROR`, `TPM_CLOSED`
   */
  publicKeys(): Promise<TpmPublicKeys> {
    return this.#inTurn(async () => ({
      endorsementKey: await this.#call<Buffer>('readKeys', (tpm, done) => tpm.getEndorsementKey(done)),
      storageRootKey: await this.#call<Buffer>('readKeys', (tpm, done) => tpm.getStorageRootKey(done)),
    }))
  }

  /**
   * Takes in an identity key that DPS has encrypted to this TPM, in place of the one before it.
   *
   * @param blob the `authenticationKey` of a challenge or of an assignment, decoded
   * @throws LeafkeeperError `TPM_ACTIVATION_FAILED`, and as `publicKeys`
   */
  activate(blob: Buffer): Promise<void> {
    return this.#inTurn(async () => {
      checkActivationBlob(blob)
      await this.#call<null>('activate', (tpm, done) => tpm.activateIdentityKey(blob, done))
    })
  }

  /**
   * Signs with the identity key: HMAC-SHA256 of `data`.
   *
   * @throws LeafkeeperError `TPM_KEY_MISSING`, and as `publicKeys`
   */
  sign(data: Buffer): Promise<Buffer> {
    return this.#inTurn(() => this.#call<Buffer>('sign', (tpm, done) => tpm.signWithIdentity(data, done)))
  }

  /** Lets go of the TPM, once what was asked before has been answered. May be called twice. */
  async close(): Promise<void> {
    await this.#turns.close()
  }

  async #inTurn<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#wanted += 1
    try {
      return await this.#turns.run(work)
    } finally {
      this.#wanted -= 1
      if (this.#wanted === 0) await this.#endSession()
    }
  }

  async #call<Result>(work: TpmWork, ask: (client: Client, done: Done<Result>) => void): Promise<Result> {
    const session = (this.#session ??= await this.#begin())
    try {
      return await session.call(work, ask)
    } catch (error) {
      await this.#endSession()
      throw error
    }
  }

  async #begin(): Promise<TpmSession> {
    const session = new TpmSession({
      channel: await openChannel(this.#address),
      tpmPackage: this.#tpmPackage,
      handles: this.#handles,
      commandTimeoutMs: this.#commandTimeoutMs,
    })
    await session.tidy()
    return session
  }

  async #endSession(): Promise<void> {
    const session = this.#session
    this.#session = undefined
    await session?.end()
  }
}
