import { LeafkeeperError } from '../errors.ts'

/** The header of a response: tag, length, response code (TPM 2.0 library, part 1, 18.10). */
export const headerLength = 10
/** The longest response that the kernel's driver takes (`TPM_BUFSIZE`), in bytes. */
export const longestResponse = 4_096

/** Puts a response together from the pieces it comes in: its length stands at offset 2, as a 32-bit number. */
export class ResponseFrame {
  #bytes: Buffer = Buffer.alloc(0)

  /**
   * @returns the response once it is complete
   * @throws LeafkeeperError `TPM_DEVICE_ERROR` where this is no response
   */
  add(piece: Buffer): Buffer | undefined {
    this.#bytes = Buffer.concat([this.#bytes, piece])
    if (this.#bytes.length < 6) return undefined
    const length = this.#bytes.readUInt32BE(2)
    if (length < headerLength || length > longestResponse) throw notAResponse(`a length of ${length} bytes`)
    if (this.#bytes.length > length) throw notAResponse(`${this.#bytes.length} bytes in place of ${length}`)
    return this.#bytes.length === length ? this.#bytes : undefined
  }
}

function notAResponse(what: string): LeafkeeperError {
  return new LeafkeeperError('TPM_DEVICE_ERROR', {
    message: `Expected a response of a TPM, of ${headerLength} to ${longestResponse} bytes; got ${what}.`,
  })
}
