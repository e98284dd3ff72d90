import type { Failure } from './events.ts'
import type { Draft } from './step-draft.ts'
import type { Backoff, CertificateFacts, ErrorCode, Instant, Policy, ScheduleName } from './states.ts'

/**
 * Which schedule each error is met with. What is not here is tried again on `retry` where trying can help, and on
 * `refusal` where it helps only after somebody has changed something.
 *
 * The line is drawn by what another try costs: a server that was never reached (`NETWORK_UNREACHABLE`) does not notice
 * one, and a service that is there and cannot serve is made worse by it.
 */
const schedules: Readonly<Partial<Record<ErrorCode, ScheduleName>>> = {
  HUB_CONNECTION_LOST: 'lost',
  HUB_UNAUTHORIZED: 'debounce',
  HUB_UNAVAILABLE: 'busy',
  DPS_THROTTLED: 'busy',
  DPS_UNAVAILABLE: 'busy',
  NETWORK_TIMEOUT: 'busy',
  PROTOCOL_ERROR: 'busy',
  ISSUER_UNAVAILABLE: 'busy',
  TLS_SERVER_UNTRUSTED: 'busy',
}

/** The schedule that an error is met with. */
export function scheduleOf({ code, retryable }: Pick<Failure, 'code' | 'retryable'>): ScheduleName {
  return schedules[code] ?? (retryable ? 'retry' : 'refusal')
}

/** The instant of the next try after a failure; `attempt` counts the failures before it. */
export function retryAt(
  draft: Draft,
  failure: Failure,
  attempt: number,
  schedule: ScheduleName = scheduleOf(failure),
): Instant {
  return dueAt(draft, schedule, attempt, failure.retryAfterMs)
}

/**
 * The instant that a schedule names: the delay doubles with each attempt up to the cap, and a part of it is left to
 * chance, so that devices which failed together do not come back together. It is never earlier than the other side
 * asked, as long as that is within reason, and never later than a certificate that is about to expire allows.
 */
export function dueAt(
  draft: Draft,
  schedule: ScheduleName,
  attempt: number,
  askedMs: number | null,
): Instant {
  const { at, entropy } = draft
  const { policy } = draft.state
  const full = delay(policy[schedule], attempt)
  const own = full * (1 - spread(policy[schedule], attempt) * (1 - entropy))
  // Everybody may have been told the same instant, so chance comes on top of it.
  const asked = askedMs === null ? 0 : Math.min(askedMs, policy.longestRetryAfterMs) + entropy * full
  return Math.ceil(Math.min(at + Math.max(own, asked), latestInEmergency(draft)))
}

function delay({ baseMs, capMs }: Backoff, attempt: number): number {
  return Math.min(capMs, baseMs * 2 ** Math.min(attempt, 40))
}

/** A first try is spread as the schedule says; later ones over the upper half, so that they really become rarer. */
function spread({ spread: first = 0.5 }: Backoff, attempt: number): number {
  return attempt === 0 ? first : 0.5
}

/**
 * Shortly before the active certificate expires no wait is long, whoever asked for it: a certificate that was not
 * replaced in time loses the device. A wait that begins earlier does not reach past the beginning of that window. The
 * window ends as long after the expiry as it began before: what has not helped by then is not urgent any more.
 */
function latestInEmergency({ state, at, entropy }: Draft): Instant {
  const active = state.generations.find((g) => g.number === state.active)?.certificate
  if (active === undefined || active === null) return Infinity
  const end = endOf(active)
  const from = emergencyFrom(state.policy, active)
  if (at > end + (end - from)) return Infinity
  return Math.max(at, from) + state.policy.emergency.longestWaitMs * (0.5 + entropy / 2)
}

/** When the certificate is of no use any more: a chain that has lost a member is not accepted either. */
export function endOf({ notAfter, chainNotAfter }: CertificateFacts): Instant {
  return Math.min(notAfter, chainNotAfter ?? Infinity)
}

/** When the last part of a certificate's life begins, in which no wait may be long. */
export function emergencyFrom({ emergency }: Policy, certificate: CertificateFacts): Instant {
  const end = endOf(certificate)
  return end - Math.min((end - certificate.notBefore) * emergency.lifetimeShare, emergency.windowMs)
}
