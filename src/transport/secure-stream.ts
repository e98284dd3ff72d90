import type { TLSSocket } from 'node:tls'
import { LeafkeeperError, messageOf } from '../errors.ts'
import { classify } from './raw-cause.ts'
import { nameOf, type Service } from './service.ts'

/** How long a closed stream waits for the other side before it lets go of the socket. */
const closeGraceMs = 1_000

/**
 * An open TLS connection that knows why it ended. The first cause wins, whoever finds it: the socket (reset, alert,
 * end), the protocol above it ({@link fail}), or nobody, when this side closed it.
 *
 * TLS 1.3 tells a client that its certificate was refused only after the client has finished the handshake
 * (RFC 8446, 4.4.2.4), so such a refusal ends an open stream.
 */
export class SecureStream {
  readonly socket: TLSSocket
  readonly service: Service
  /** Resolves when the socket is closed: with the cause, or with `undefined` after `close()`. Never rejects. */
  readonly ended: Promise<LeafkeeperError | undefined>
  #failure: LeafkeeperError | undefined
  #closing = false
  readonly #watches = new Set<NodeJS.Timeout>()

  constructor(socket: TLSSocket, service: Service) {
    this.socket = socket
    this.service = service
    socket.on('error', (error) => {
      this.fail(classify(error, service, socket))
    })
    socket.once('end', () => {
      // What came just before the end is still on its way through the MQTT parser, and says more.
      setImmediate(() => {
        this.fail(
          new LeafkeeperError('NETWORK_UNREACHABLE', {
            reason: 'closed',
            message: `${nameOf(service)} closed the connection.`,
          }),
        )
      })
    })
    this.ended = new Promise((resolve) => {
      socket.once('close', () => {
        for (const watch of this.#watches) clearTimeout(watch)
        // Whoever destroyed the socket without a cause: mqtt does when a ping stays unanswered.
        if (!this.#closing) this.#failure ??= this.#silence('a ping')
        resolve(this.#failure)
      })
    })
  }

  /** Why the stream failed, once it has. */
  get failure(): LeafkeeperError | undefined {
    return this.#failure
  }

  /** Whether it can no longer be used. */
  get isOver(): boolean {
    return this.#failure !== undefined || this.#closing || this.socket.destroyed
  }

  /** Ends the stream with a cause; a later cause is ignored, and so is one after `close()`. */
  fail(cause: LeafkeeperError): void {
    if (!this.#closing) this.#failure ??= cause
    this.socket.destroy()
  }

  /** Fails the stream with `NETWORK_TIMEOUT` unless the returned function is called in time. */
  expect(what: string, timeoutMs: number): () => void {
    // Nothing can come any more, and nobody would clear the timer.
    if (this.isOver) return () => undefined
    const watch = setTimeout(() => {
      this.#watches.delete(watch)
      this.fail(this.#silence(what, timeoutMs))
    }, timeoutMs)
    this.#watches.add(watch)
    return () => {
      clearTimeout(watch)
      this.#watches.delete(watch)
    }
  }

  /**
   * Waits for work that depends on the stream, such as a call of an SDK. Where the stream fails, its cause is thrown
   * in place of what the SDK makes of it; an error that nothing explains becomes `PROTOCOL_ERROR`.
   */
  async until<Result>(work: Promise<Result>): Promise<Result> {
    const explained = work.catch((error: unknown) => {
      throw this.#failure ?? this.#unexplained(error)
    })
    const over = this.ended.then((cause) => {
      throw cause ?? this.#unexplained(new Error('the connection was closed'))
    })
    return await Promise.race([explained, over])
  }

  /**
   * Sends what is still buffered, ends the connection, and gives the other side a moment to do the same.
   * Resolves when the socket is closed; may be called twice.
   *
   * @param farewell Says goodbye in the protocol above and then ends the socket.
   */
  async close(farewell = (): void => void this.socket.end()): Promise<void> {
    if (!this.isOver) {
      this.#closing = true
      farewell()
    }
    const watch = setTimeout(() => this.socket.destroy(), closeGraceMs)
    // Nothing reads any more, and an unread stream never ends.
    this.socket.resume()
    await this.ended
    clearTimeout(watch)
  }

  /** Closes the socket at once; what was buffered is lost. */
  discard(): void {
    this.#closing = true
    this.socket.destroy()
  }

  #silence(what: string, timeoutMs?: number): LeafkeeperError {
    const within = timeoutMs === undefined ? 'in time' : `within ${timeoutMs} ms`
    return new LeafkeeperError('NETWORK_TIMEOUT', {
      message: `${nameOf(this.service)} did not answer ${what} ${within}.`,
    })
  }

  #unexplained(error: unknown): LeafkeeperError {
    if (error instanceof LeafkeeperError) return error
    return new LeafkeeperError('PROTOCOL_ERROR', {
      cause: error,
      message: `The conversation with ${nameOf(this.service)} failed: ${messageOf(error)}.`,
    })
  }
}
