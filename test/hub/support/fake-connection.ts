import { LeafkeeperError } from '../../../src/errors.ts'
import type { DeviceMessage, HubConnection } from '../../../src/hub/hub-transport.ts'

type Sent = DeviceMessage & { readonly messageId: string }

/** A hub connection whose acknowledgements the test gives. */
export class FakeConnection implements HubConnection {
  readonly ended: Promise<LeafkeeperError | undefined>
  /** The ids of what was sent, in order. */
  readonly sent: string[] = []
  readonly messages: Sent[] = []
  readonly #open: {
    readonly id: string
    readonly resolve: () => void
    readonly reject: (error: Error) => void
  }[] = []
  #lost = false

  constructor() {
    this.ended = Promise.resolve(undefined)
  }

  get unanswered(): number {
    return this.#open.length
  }

  send(message: Sent): Promise<void> {
    if (this.#lost) return Promise.reject(new LeafkeeperError('HUB_CONNECTION_LOST'))
    this.sent.push(message.messageId)
    this.messages.push(message)
    return new Promise((resolve, reject) => {
      this.#open.push({ id: message.messageId, resolve, reject })
    })
  }

  /** Acknowledges the oldest message that is not acknowledged. */
  acknowledge(): void {
    this.#open.shift()?.resolve()
  }

  /** Refuses the oldest message that is not acknowledged. */
  refuse(error: Error): void {
    this.#open.shift()?.reject(error)
  }

  /** The connection breaks: nothing that was not acknowledged will be. */
  lose(): void {
    this.#lost = true
    for (const { reject } of this.#open.splice(0)) reject(new LeafkeeperError('HUB_CONNECTION_LOST'))
  }

  close(): Promise<void> {
    this.lose()
    return Promise.resolve()
  }
}
