import { constants } from 'node:fs'
import { open, type FileHandle } from 'node:fs/promises'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { longestResponse, ResponseFrame } from './response-frame.ts'
import { nameOfTpm, type TpmAddress } from './tpm-address.ts'
import type { TpmChannel } from './tpm-channel.ts'

type DeviceAddress = Extract<TpmAddress, { device: string }>

/**
 * Opens the TPM of the kernel: a command is one write, and what is read after it is the response. The kernel bounds the
 * time of each command itself (drivers/char/tpm). @throws LeafkeeperError `TPM_UNREACHABLE`
 */
export async function openDevice(address: DeviceAddress): Promise<TpmChannel> {
  try {
    return new DeviceChannel(
      await open(address.device, constants.O_RDWR | constants.O_NOCTTY),
      nameOfTpm(address),
    )
  } catch (cause) {
    throw new LeafkeeperError('TPM_UNREACHABLE', {
      message: `Cannot open ${nameOfTpm(address)}: ${messageOf(cause)}.`,
      cause,
      reason: (cause as NodeJS.ErrnoException).code ?? 'unknown',
    })
  }
}

class DeviceChannel implements TpmChannel {
  readonly #file: FileHandle
  readonly #name: string
  #closed = false
  #underWay: Promise<unknown> = Promise.resolve()

  constructor(file: FileHandle, name: string) {
    this.#file = file
    this.#name = name
  }

  transmit(command: Buffer): Promise<Buffer> {
    const response = this.#exchange(command)
    this.#underWay = response.catch(() => undefined)
    return response
  }

  /** A read that is under way cannot be called back; the file is closed after it. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    void this.#underWay.then(() => this.#file.close()).catch(() => undefined)
  }

  async #exchange(command: Buffer): Promise<Buffer> {
    try {
      await this.#file.write(command)
      const frame = new ResponseFrame()
      for (;;) {
        const { bytesRead, buffer } = await this.#file.read(Buffer.alloc(longestResponse), 0, longestResponse)
        if (bytesRead === 0) throw new Error('it has no response')
        const response = frame.add(buffer.subarray(0, bytesRead))
        if (response !== undefined) return response
      }
    } catch (cause) {
      if (cause instanceof LeafkeeperError) throw cause
      const message = `The exchange with ${this.#name} failed: ${messageOf(cause)}.`
      throw new LeafkeeperError('TPM_UNREACHABLE', { message, cause })
    }
  }
}
