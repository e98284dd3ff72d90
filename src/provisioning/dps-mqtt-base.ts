import { LeafkeeperError } from '../errors.ts'
import { GuardedMqttBase, type IncomingMessage } from '../transport/guarded-mqtt-base.ts'
import { mqttOver } from '../transport/mqtt-provider.ts'
import type { SecureStream } from '../transport/secure-stream.ts'
import { readAnswer, requestIdOf, type DpsAnswer } from './dps-answer.ts'
import type { Registration } from './provisioning-service.ts'

type Config = Parameters<GuardedMqttBase['connect']>[0]
type Done = (error?: Error, result?: unknown) => void

/** A question that waits for its answer. */
interface Question {
  readonly requestId: string
  readonly answered: () => void
}

/** A registration that also asks for a certificate (preview), or asks what has become of it. */
export interface CertificateQuestion {
  /** The version of the device API that has it; the official client's own is one for the whole process. */
  readonly apiVersion: string
  /** Base64 of the DER of a PKCS#10; left out where an operation is asked about. */
  readonly csr?: string
}

/**
 * Reads every answer of DPS before the official client does. The client sees an answer only where it carries on: it
 * would wait for ever on 429 and above, and end the process on a body that is not JSON.
 */
export class DpsMqttBase extends GuardedMqttBase {
  /** Rejects when DPS refuses the registration. */
  readonly refusal: Promise<never>
  /** The first answer that is no refusal. */
  readonly answer: Promise<DpsAnswer>
  readonly #refuse: (error: LeafkeeperError) => void
  readonly #tell: (answer: DpsAnswer) => void
  readonly #stream: SecureStream
  readonly #answerTimeoutMs: number
  readonly #certificate: CertificateQuestion | undefined
  #assignment: Registration | undefined
  #question: Question | undefined
  #finished = false

  constructor(stream: SecureStream, answerTimeoutMs: number, certificate?: CertificateQuestion) {
    super(mqttOver(stream))
    this.#certificate = certificate
    this.#stream = stream
    this.#answerTimeoutMs = answerTimeoutMs
    let refuse: (error: LeafkeeperError) => void = () => {
      // Replaced before anybody can call it.
    }
    this.refusal = new Promise((_resolve, reject) => {
      refuse = reject
    })
    this.refusal.catch(() => {
      // Whoever converses takes it; a refusal after the end has no one to go to.
    })
    this.#refuse = refuse
    let tell: (answer: DpsAnswer) => void = () => {
      // As above.
    }
    this.answer = new Promise((resolve) => {
      tell = resolve
    })
    this.#tell = tell
  }

  /**
   * What DPS assigned, once the client has the answer too.
   *
   * @throws LeafkeeperError `PROTOCOL_ERROR` where there is none
   */
  get assignment(): Registration {
    if (this.#assignment === undefined) throw new LeafkeeperError('PROTOCOL_ERROR')
    return this.#assignment
  }

  /** From here on the client is shown nothing more, and is not waited for. */
  finish(): void {
    this.#finished = true
    this.#question?.answered()
    this.#question = undefined
  }

  override connect(config: Config, done: Done): void {
    const answered = this.#stream.expect('CONNECT', this.#answerTimeoutMs)
    super.connect(this.#inVersion(config), (error, result) => {
      answered()
      done(error, result)
    })
  }

  override subscribe(topic: string, options: { qos: 0 | 1 | 2 }, done: Done): void {
    const answered = this.#stream.expect('SUBSCRIBE', this.#answerTimeoutMs)
    super.subscribe(topic, options, (error, result) => {
      answered()
      done(error, result)
    })
  }

  override publish(topic: string, payload: unknown, options: { qos: 0 | 1 | 2 }, done: Done): void {
    const requestId = requestIdOf(topic)
    if (requestId !== undefined && !this.#finished) {
      this.#question?.answered()
      this.#question = { requestId, answered: this.#stream.expect('the registration', this.#answerTimeoutMs) }
    }
    super.publish(topic, this.#withRequest(topic, payload), options, done)
  }

  /** The connection ends with its session, so there is no need to wait for UNSUBACK, which may never come. */
  override unsubscribe(_topic: string, done: Done): void {
    done()
  }

  #inVersion(config: Config): Config {
    const { username } = config
    const { apiVersion } = this.#certificate ?? {}
    if (apiVersion === undefined) return config
    return { ...config, username: username.replace(/(\/api-version=)[^&]*/, `$1${apiVersion}`) }
  }

  /** The client knows of no request for a certificate, so it is added to the registration that the client sends. */
  #withRequest(topic: string, payload: unknown): unknown {
    const { csr } = this.#certificate ?? {}
    if (csr === undefined || !topic.includes('/PUT/') || typeof payload !== 'string') return payload
    return JSON.stringify({ ...(JSON.parse(payload) as object), csr })
  }

  protected override admit(message: IncomingMessage): IncomingMessage | undefined {
    const question = this.#question
    const requestId = requestIdOf(message.topic)
    if (question === undefined || requestId !== question.requestId) return undefined
    question.answered()
    this.#question = undefined
    const answer = readAnswer(message, this.#stream.service)
    if (answer.kind === 'refused') {
      this.#refuse(answer.error)
      return undefined
    }
    this.#tell(answer)
    if (answer.kind === 'assigned') this.#assignment = answer.registration
    const pause =
      answer.kind === 'pending' && answer.retryAfterSeconds !== undefined
        ? `&retry-after=${answer.retryAfterSeconds}`
        : ''
    return {
      topic: `$dps/registrations/res/200/?$rid=${requestId}${pause}`,
      payload: asciiJson(answer.body),
    }
  }
}

/** The client decodes bodies as ASCII; JSON can say everything in it. */
function asciiJson(body: unknown): Buffer {
  const text = JSON.stringify(body).replace(
    /[\u0080-\uffff]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
  return Buffer.from(text, 'ascii')
}
