import { createHash } from 'node:crypto'
import { base64OfRequest, publicKeyOfRequest } from '../certificate/request.ts'
import type { CredentialChannel } from '../credential-channel.ts'
import { LeafkeeperError } from '../errors.ts'
import { readHubAnswer, type HubAnswer } from './hub-answer.ts'
import { Inbox } from './inbox.ts'
import type { IssueAnswer, IssueRequest, Issuer } from './issuer.ts'

/** How the hub is asked for certificates; all durations in milliseconds. */
export interface HubIssuerOptions {
  /** How long a certificate is waited for once the hub works on it; then it is asked for again later. Default one minute, at most three. */
  readonly waitMs?: number
  /** When a certificate that did not come in that time is asked for again. Default one minute. */
  readonly retryAfterMs?: number
  /** How long the hub may take to say whether it works on a request. Default 30 000. */
  readonly answerTimeoutMs?: number
  /** How long a result that waits at the hub may take to arrive before the request is sent again. Default 2 000. */
  readonly settleMs?: number
}

/** The version of the hub's MQTT API that has `$iothub/credentials`. */
const apiVersion = '2025-08-01-preview'
/** The largest request: 8 KB of Base64. */
const largestCsr = 8 * 1024
/** The longest that may be waited, in milliseconds. */
export const longestHubWaits = { waitMs: 3 * 60_000, answerTimeoutMs: 60_000, settleMs: 30_000 } as const

/**
 * IoT Hub's own `issueCertificate` (preview): the hub issues the certificate, over the connection that the device has
 * at that moment, and accepts it from then on without DPS.
 *
 * The hub works on one request of a device at a time. A request that is in the way of this one, such as that of a roll
 * which was given up, is replaced. When the connection or the process ends meanwhile, the same request is sent again on
 * the next connection, and the hub hands over its result, or says that it still works on it.
 *
 * The first certificate of a device has to come from elsewhere, since only a connected device can ask
 * ({@link issuerByReason}). Where the device has DPS, it has to register with an onboarding credential: DPS does not
 * know what the hub has issued.
 *
 * @example
 * ```ts
 * await DeviceAgent.start({ ..., issuer: hubIssuer() })
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` for a value out of its range. A request rejects with
 * `ISSUER_UNAVAILABLE` (no connection, no answer, 409, 429 and 5xx, with the hub's pause), `ISSUER_REFUSED` (what the
 * hub finds wrong with the request; the reason is its error code), or `CERT_UNREADABLE`
 */
export function hubIssuer(options: HubIssuerOptions = {}): Issuer {
  const times: Times = {
    waitMs: inRange('waitMs', options.waitMs ?? 60_000, longestHubWaits.waitMs),
    retryAfterMs: inRange('retryAfterMs', options.retryAfterMs ?? 60_000),
    answerTimeoutMs: inRange(
      'answerTimeoutMs',
      options.answerTimeoutMs ?? 30_000,
      longestHubWaits.answerTimeoutMs,
    ),
    settleMs: inRange('settleMs', options.settleMs ?? 2_000, longestHubWaits.settleMs),
  }
  return {
    name: 'IoT Hub',
    hubApiVersion: apiVersion,
    submit: (request) => converse(request, undefined, times),
    resume: (ticket, request) => converse(request, ticket, times),
  }
}

type Times = Required<HubIssuerOptions>

async function converse(
  request: IssueRequest,
  ticket: string | undefined,
  times: Times,
): Promise<IssueAnswer> {
  const channel = requireHub(request)
  const requestId = hubRequestId(request)
  const conversation = new Conversation(channel, requestId, request, times)
  const stop = await channel.listen(requestId, (answer) => conversation.inbox.put(readHubAnswer(answer)))
  let isPending = true
  try {
    const answer = await conversation.outcome(ticket === requestId)
    isPending = answer.kind === 'pending'
    return answer
  } catch (error) {
    isPending = error instanceof LeafkeeperError && error.retryable
    throw error
  } finally {
    // The hub keeps a result for whoever is subscribed, so a device that still waits for one stays so. The connection
    // tells whether it has heard the end; nothing is lost without.
    stop(!isPending).catch(() => undefined)
  }
}

/** One request on one connection, from the first word to the certificate or the promise of one. */
class Conversation {
  readonly inbox = new Inbox<HubAnswer>()
  readonly #channel: CredentialChannel
  readonly #requestId: string
  readonly #csr: string
  readonly #signal: AbortSignal
  readonly #times: Times

  constructor(channel: CredentialChannel, requestId: string, request: IssueRequest, times: Times) {
    this.#channel = channel
    this.#requestId = requestId
    this.#csr = base64OfRequest(request.csr)
    this.#signal = request.signal
    this.#times = times
    if (this.#csr.length > largestCsr)
      throw new LeafkeeperError('ISSUER_REFUSED', {
        message: `A hub takes requests of at most ${largestCsr} characters; this one has ${this.#csr.length}.`,
      })
    void channel.ended.then(() => this.inbox.fail(unavailable('The connection to the hub has ended.')))
  }

  /** @param isKnown whether this request was sent before, so that its result may be on its way */
  async outcome(isKnown: boolean): Promise<IssueAnswer> {
    const { settleMs, waitMs } = this.#times
    // A result that the connection has brought already is here; a later one is worth waiting for if it may be on its way.
    const kept = await this.inbox.take(isKnown ? settleMs : 0, this.#signal)
    let answer = kept ?? (await this.#ask())
    if (answer.kind === 'busy' && !this.#isOwn(answer, isKnown)) answer = await this.#ask('*')
    const deadline = performance.now() + waitMs
    for (;;) {
      switch (answer.kind) {
        case 'issued':
          return answer
        case 'refused':
          throw answer.error
        case 'busy':
          if (!this.#isOwn(answer, isKnown)) throw answer.error
          break
        case 'accepted':
          break
      }
      const next = await this.inbox
        .take(Math.max(0, deadline - performance.now()), this.#signal)
        .catch((error: unknown) => {
          // The hub works on: the next connection, or the next process, takes it up.
          if (this.#signal.aborted) throw error
          return undefined
        })
      if (next === undefined) return this.#pending()
      answer = next
    }
  }

  /** Sends the request, and waits for the first word about it. */
  async #ask(replace?: '*'): Promise<HubAnswer> {
    const { answerTimeoutMs } = this.#times
    const body = { id: this.#channel.deviceId, csr: this.#csr, ...(replace === undefined ? {} : { replace }) }
    await this.#channel.request(this.#requestId, JSON.stringify(body)).catch((cause: unknown) => {
      throw unavailable('The connection to the hub has ended.', cause)
    })
    const answer = await this.inbox.take(answerTimeoutMs, this.#signal)
    if (answer !== undefined) return answer
    throw unavailable(
      `The hub said nothing to a request for a certificate within ${answerTimeoutMs} ms; it may not have this preview.`,
    )
  }

  /** Whether it is this very request that the hub works on. Where it does not say, one that was sent before is. */
  #isOwn({ requestId }: Extract<HubAnswer, { kind: 'busy' }>, isKnown: boolean): boolean {
    return requestId === undefined ? isKnown : requestId === this.#requestId
  }

  #pending(): IssueAnswer {
    return { kind: 'pending', ticket: this.#requestId, retryAfterMs: this.#times.retryAfterMs }
  }
}

/**
 * The request's name at the hub: the same for every try with one key. A roll that begins anew with another key keeps
 * its own request id, but must not be handed the certificate of the key before.
 */
function hubRequestId({ requestId, csr }: IssueRequest): string {
  return createHash('sha256').update(requestId).update(publicKeyOfRequest(csr)).digest('hex').slice(0, 32)
}

function requireHub({ hub, reason }: IssueRequest): CredentialChannel {
  if (hub !== undefined) return hub
  if (reason === 'bootstrap')
    throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
      message:
        'A hub issues certificates to devices that are connected, so it cannot issue the first one: give the agent another issuer for that.',
    })
  throw unavailable('There is no connection to the hub.')
}

function unavailable(message: string, cause?: unknown): LeafkeeperError {
  return new LeafkeeperError('ISSUER_UNAVAILABLE', { message, ...(cause === undefined ? {} : { cause }) })
}

function inRange(name: string, value: number, most = Number.MAX_SAFE_INTEGER): number {
  if (Number.isFinite(value) && value >= 1 && value <= most) return value
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected the hub issuer's ${name} to be from 1 to ${most}, got ${String(value)}.`,
  })
}
