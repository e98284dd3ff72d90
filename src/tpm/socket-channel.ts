import { connect, type Socket } from 'node:net'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { ResponseFrame } from './response-frame.ts'
import { nameOfTpm, type TpmAddress } from './tpm-address.ts'
import type { TpmChannel } from './tpm-channel.ts'

type SocketAddress = Exclude<TpmAddress, { device: string }>

/** A response that is waited for. */
interface Waiting {
  readonly frame: ResponseFrame
  readonly resolve: (response: Buffer) => void
  readonly reject: (error: LeafkeeperError) => void
}

/** Connects to a TPM behind a socket. @throws LeafkeeperError `TPM_UNREACHABLE` */
export async function connectToSocket(address: SocketAddress): Promise<TpmChannel> {
  const socket = connect('socket' in address ? { path: address.socket } : { ...address, noDelay: true })
  await new Promise<void>((resolve, reject) => {
    socket.once('connect', resolve)
    socket.once('error', (cause) => {
      const reason = (cause as NodeJS.ErrnoException).code ?? cause.name
      const message = `Cannot connect to ${nameOfTpm(address)}: ${messageOf(cause)}.`
      reject(new LeafkeeperError('TPM_UNREACHABLE', { message, cause, reason }))
    })
  })
  return new SocketChannel(socket, nameOfTpm(address))
}

class SocketChannel implements TpmChannel {
  readonly #socket: Socket
  readonly #name: string
  #waiting: Waiting | undefined

  constructor(socket: Socket, name: string) {
    this.#socket = socket
    this.#name = name
    socket.removeAllListeners('error')
    socket.on('data', (piece: Buffer) => {
      this.#take(piece)
    })
    socket.on('error', (cause) => {
      this.#fail(this.#broken(messageOf(cause), cause))
    })
    socket.on('close', () => {
      this.#fail(this.#broken('the TPM closed the connection'))
    })
    // What waits for a response keeps the process alive; a connection that is only open does not.
    socket.unref()
  }

  transmit(command: Buffer): Promise<Buffer> {
    return new Promise((resolve, reject) => {
      if (this.#socket.destroyed) return reject(this.#broken('the connection is closed'))
      this.#socket.ref()
      this.#waiting = { frame: new ResponseFrame(), resolve, reject }
      this.#socket.write(command)
    })
  }

  close(): void {
    this.#socket.destroy()
  }

  #take(piece: Buffer): void {
    const waiting = this.#waiting
    if (waiting === undefined) return this.close()
    try {
      const response = waiting.frame.add(piece)
      if (response === undefined) return
      this.#waiting = undefined
      this.#socket.unref()
      waiting.resolve(response)
    } catch (error) {
      this.#fail(error instanceof LeafkeeperError ? error : this.#broken(messageOf(error), error))
      this.close()
    }
  }

  #fail(error: LeafkeeperError): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.reject(error)
  }

  #broken(why: string, cause?: unknown): LeafkeeperError {
    return new LeafkeeperError('TPM_UNREACHABLE', {
      message: `The connection to ${this.#name} broke: ${why}.`,
      ...(cause === undefined ? {} : { cause }),
    })
  }
}
