import { LeafkeeperError } from '../errors.ts'
import { guardedTpm } from './guarded-tpm.ts'
import type { OpenHandles } from './open-handles.ts'
import type { TpmChannel } from './tpm-channel.ts'
import { tpmFailure, type TpmWork } from './tpm-failure.ts'
import type { TpmPackage, TssTpm } from './tpm-package.ts'

type TpmSecurityClient = InstanceType<TpmPackage['TpmSecurityClient']>

/** How the official client answers. */
export type Done<Result> = (error: Error | null | undefined, result?: Result) => void

/** What a session is made of. */
export interface TpmSessionParts {
  readonly channel: TpmChannel
  readonly tpmPackage: TpmPackage
  readonly handles: OpenHandles
  readonly commandTimeoutMs: number
}

/** The official client on one channel: one call at a time, and none after one that failed. */
export class TpmSession {
  readonly #parts: TpmSessionParts
  readonly #tpm: TssTpm
  readonly #client: TpmSecurityClient
  #failure: LeafkeeperError | undefined
  #failed: (thrown: unknown) => void = () => undefined

  constructor(parts: TpmSessionParts) {
    this.#parts = parts
    const { tpmPackage } = parts
    // It makes a device of its own and opens nothing before it is told to connect.
    this.#tpm = new tpmPackage.tss.Tpm(true)
    this.#tpm.device = {
      connect: (done) => {
        done()
      },
      dispatchCommand: (command, done) => {
        this.#transmit(command).then(
          (response) => done(null, response),
          (error: unknown) => done(error as LeafkeeperError),
        )
      },
      close: () => undefined,
    }
    const guarded = guardedTpm(this.#tpm, (thrown) => this.#failed(thrown))
    this.#client = new tpmPackage.TpmSecurityClient('', guarded)
  }

  /** @throws LeafkeeperError `TPM_*` */
  async call<Result>(
    work: TpmWork,
    ask: (client: TpmSecurityClient, done: Done<Result>) => void,
  ): Promise<Result> {
    try {
      return await new Promise<Result>((resolve, reject) => {
        this.#failed = reject
        ask(this.#client, (error, result) => {
          if (error === null || error === undefined) resolve(result as Result)
          else reject(error)
        })
      })
    } catch (thrown) {
      const { TPM_RC } = this.#parts.tpmPackage.tss
      throw (
        this.#failure ??
        tpmFailure(thrown, work, { lastError: this.#tpm.lastError, codeName: (code) => TPM_RC[code] })
      )
    }
  }

  /** Flushes what failed calls have left loaded, now and on channels before this one. Never rejects. */
  async tidy(): Promise<void> {
    try {
      if (this.#failure === undefined) await this.#parts.handles.flush((command) => this.#transmit(command))
    } catch {
      // The channel broke meanwhile: whoever uses it next is told, and what is left is flushed on another one.
    }
  }

  /** Lets go of the channel. Never rejects. */
  async end(): Promise<void> {
    await this.tidy()
    this.#parts.channel.close()
  }

  async #transmit(command: Buffer): Promise<Buffer> {
    const { channel, handles, commandTimeoutMs } = this.#parts
    if (this.#failure !== undefined) throw this.#failure
    const late = new LeafkeeperError('TPM_TIMEOUT', {
      message: `The TPM did not answer a command within ${commandTimeoutMs} ms.`,
    })
    let timer: NodeJS.Timeout | undefined
    try {
      const inTime = new Promise<never>((_resolve, reject) => {
        timer = setTimeout(() => reject(late), commandTimeoutMs)
      })
      const response = await Promise.race([channel.transmit(command), inTime])
      handles.observe(command, response)
      return response
    } catch (error) {
      // The response to this command may still come, so nothing else may be said on this channel.
      this.#failure = error as LeafkeeperError
      channel.close()
      throw error
    } finally {
      clearTimeout(timer)
    }
  }
}
