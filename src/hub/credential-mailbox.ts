import type { DeviceId } from '../brands.ts'
import type { CredentialAnswer, CredentialChannel, StopListening } from '../credential-channel.ts'
import type { SecureStream } from '../transport/secure-stream.ts'
import type { HubMqttBase } from './hub-mqtt-base.ts'

const answers = '$iothub/credentials/res/#'
const requests = '$iothub/credentials/POST/issueCertificate'

/** How many answers wait for somebody who listens; older ones go. A device has one operation at a time. */
const mostWaiting = 16

type OnAnswer = (answer: CredentialAnswer) => void

/**
 * The credentials topics of one connection. A hub hands a result over as soon as the device's session is back, which
 * may be before anybody asks for it, and once it is acknowledged it does not come again: it waits here.
 */
export class CredentialMailbox implements CredentialChannel {
  readonly deviceId: DeviceId
  readonly ended: Promise<unknown>
  readonly #stream: SecureStream
  readonly #base: HubMqttBase
  readonly #answerTimeoutMs: number
  readonly #listeners = new Map<string, OnAnswer>()
  #waiting: readonly CredentialAnswer[] = []
  #subscribed: Promise<void> | undefined

  constructor(stream: SecureStream, base: HubMqttBase, deviceId: DeviceId, answerTimeoutMs: number) {
    this.#stream = stream
    this.#base = base
    this.deviceId = deviceId
    this.#answerTimeoutMs = answerTimeoutMs
    this.ended = stream.ended
  }

  /** An answer has come. */
  receive(answer: CredentialAnswer): void {
    const listener = this.#listeners.get(answer.requestId)
    if (listener === undefined) this.#waiting = [...this.#waiting, answer].slice(-mostWaiting)
    else listener(answer)
  }

  async listen(requestId: string, onAnswer: OnAnswer): Promise<StopListening> {
    this.#listeners.set(requestId, onAnswer)
    const [mine, others] = [this.#waiting.filter(isFor(requestId)), this.#waiting.filter(isNotFor(requestId))]
    this.#waiting = others
    for (const answer of mine) onAnswer(answer)
    const stop: StopListening = async (done) => {
      if (this.#listeners.get(requestId) === onAnswer) this.#listeners.delete(requestId)
      if (done && this.#listeners.size === 0) await this.#unsubscribe()
    }
    try {
      this.#subscribed ??= this.#subscribe()
      await this.#subscribed
      return stop
    } catch (error) {
      await stop(false)
      throw error
    }
  }

  async request(requestId: string, body: string): Promise<void> {
    await this.#told('a request for a certificate with PUBACK', (done) =>
      this.#base.publish(`${requests}/?$rid=${requestId}`, body, { qos: 1 }, done),
    )
  }

  async #subscribe(): Promise<void> {
    await this.#told('SUBSCRIBE', (done) => this.#base.subscribe(answers, { qos: 1 }, done))
  }

  async #unsubscribe(): Promise<void> {
    if (this.#subscribed === undefined || this.#stream.isOver) return
    this.#subscribed = undefined
    await this.#told('UNSUBSCRIBE', (done) => this.#base.unsubscribe(answers, done))
  }

  /** Says something and waits until the hub has answered that. */
  async #told(what: string, say: (done: (error?: Error | null) => void) => void): Promise<void> {
    const answered = this.#stream.expect(what, this.#answerTimeoutMs)
    const said = new Promise<void>((resolve, reject) => {
      say((error) => {
        if (error === undefined || error === null) resolve()
        else reject(error)
      })
    })
    await this.#stream.until(said).finally(answered)
  }
}

function isFor(requestId: string): (answer: CredentialAnswer) => boolean {
  return (answer) => answer.requestId === requestId
}

function isNotFor(requestId: string): (answer: CredentialAnswer) => boolean {
  return (answer) => answer.requestId !== requestId
}
