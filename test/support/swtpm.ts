import { spawn, type ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import type { TpmAddress } from '../../src/tpm/tpm-address.ts'
import { openChannel } from '../../src/tpm/open-channel.ts'
import { appears } from './appears.ts'

/** A TPM in a process of its own, as real in what it says as one on a board: swtpm, behind a Unix socket. */
export class Swtpm {
  readonly #folder: string
  #process: ChildProcess | undefined

  private constructor(folder: string) {
    this.#folder = folder
  }

  /** A new TPM, as it comes from the factory; it ends with the test, or when `whenOver` says so. */
  static async start(whenOver: (end: () => Promise<void>) => void = onTestFinished): Promise<Swtpm> {
    const tpm = new Swtpm(await mkdtemp(join(tmpdir(), 'leafkeeper-tpm-')))
    whenOver(async () => {
      await tpm.kill()
      await rm(tpm.#folder, { recursive: true, force: true })
    })
    await tpm.powerOn()
    return tpm
  }

  get address(): TpmAddress {
    return { socket: join(this.#folder, 'socket') }
  }

  /** With what it kept. */
  async powerOn(): Promise<void> {
    const [socket, ready] = [join(this.#folder, 'socket'), join(this.#folder, 'pid')]
    for (const file of [socket, ready]) await rm(file, { force: true })
    this.#process = spawn('swtpm', [
      ...['socket', '--tpm2', '--tpmstate', `dir=${this.#folder}`],
      ...['--server', `type=unixio,path=${socket}`, '--flags', 'not-need-init,startup-clear'],
      ...['--pid', `file=${ready}`],
    ])
    // It listens before it writes this.
    await appears(ready)
  }

  /** Ends its process at once, in the middle of whatever it does. */
  async kill(): Promise<void> {
    const running = this.#process
    this.#process = undefined
    if (running?.exitCode !== null || running.signalCode !== null) return
    const gone = once(running, 'exit')
    running.kill('SIGKILL')
    await gone
  }

  /** Another TPM in its place: other seeds, nothing kept. */
  async replace(): Promise<void> {
    await this.kill()
    await rm(join(this.#folder, 'tpm2-00.permall'))
    await this.powerOn()
  }

  /** TPM2_Clear by the platform, as firmware has it: the owner's keys go, the endorsement seed stays. */
  async clear(): Promise<void> {
    const platform = '4000000c'
    const emptyPassword = '00000009' + '40000009' + '0000' + '00' + '0000'
    await this.command('8002', '00000126', platform + emptyPassword)
  }

  /** Sessions and transient objects that are loaded, by their handles. */
  async loaded(): Promise<readonly string[]> {
    const [sessions, transient] = ['02000000', '80000000']
    return [...(await this.#handles(sessions)), ...(await this.#handles(transient))]
  }

  /** Persistent keys by their handles. */
  async persistent(): Promise<readonly string[]> {
    return this.#handles('81000000')
  }

  /** Says one command, in hexadecimal, as any program might. @returns what follows the header of the response */
  async command(tag: string, code: string, rest: string): Promise<Buffer> {
    const body = Buffer.from(`${tag}00000000${code}${rest}`, 'hex')
    body.writeUInt32BE(body.length, 2)
    const channel = await openChannel(this.address)
    try {
      const response = await channel.transmit(body)
      const result = response.readUInt32BE(6)
      if (result !== 0) throw new Error(`TPM command ${code} failed with 0x${result.toString(16)}`)
      return response.subarray(10)
    } finally {
      channel.close()
    }
  }

  /** TPM2_GetCapability(TPM_CAP_HANDLES). */
  async #handles(from: string): Promise<readonly string[]> {
    const data = await this.command('8001', '0000017a', `00000001${from}000000fe`)
    const count = data.readUInt32BE(5)
    return Array.from({ length: count }, (_, index) => data.readUInt32BE(9 + 4 * index).toString(16))
  }
}
