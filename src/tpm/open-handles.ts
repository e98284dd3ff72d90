import { headerLength } from './response-frame.ts'

/** Commands that leave something in the TPM which somebody has to flush (TPM 2.0 library, part 2, 6.5.2). */
const makesHandle: ReadonlySet<number> = new Set([
  0x0000_0131, // CreatePrimary
  0x0000_0157, // Load
  0x0000_015b, // HMAC_Start
  0x0000_0176, // StartAuthSession
])
const sequenceComplete = 0x0000_013e
const flushContext = 0x0000_0165
/** An error about a parameter: there is no such handle (part 2, 6.6.2). */
const formatOne = 0x080
const withoutSessions = 0x8001

/**
 * The sessions and transient objects that are loaded for us. The official client forgets them when something fails, and
 * a TPM has room for three.
 */
export class OpenHandles {
  readonly #open = new Set<number>()

  /** Takes note of what a command has loaded or flushed. */
  observe(command: Buffer, response: Buffer): void {
    if (command.length < headerLength || response.readUInt32BE(6) !== 0) return
    const code = command.readUInt32BE(6)
    if (makesHandle.has(code) && response.length >= headerLength + 4)
      this.#open.add(response.readUInt32BE(headerLength))
    if ((code === flushContext || code === sequenceComplete) && command.length >= headerLength + 4)
      this.#open.delete(command.readUInt32BE(headerLength))
  }

  /** Flushes what is left. What the TPM does not have any more is forgotten, what it cannot flush now is kept. */
  async flush(transmit: (command: Buffer) => Promise<Buffer>): Promise<void> {
    for (const handle of [...this.#open]) {
      const response = await transmit(flushCommand(handle))
      if ((response.readUInt32BE(6) & formatOne) !== 0) this.#open.delete(handle)
    }
  }
}

function flushCommand(handle: number): Buffer {
  const command = Buffer.alloc(headerLength + 4)
  command.writeUInt16BE(withoutSessions, 0)
  command.writeUInt32BE(command.length, 2)
  command.writeUInt32BE(flushContext, 6)
  command.writeUInt32BE(handle, headerLength)
  return command
}
