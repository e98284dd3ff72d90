import { emergencyFrom, endOf } from './step-retry.ts'
import type { AgentState, CertificateFacts, Instant, RollMode, RollSchedule } from './states.ts'

/** The roll that the agent will begin by itself. */
export interface OwnRoll {
  readonly at: Instant
  readonly mode: Exclude<RollMode, 'bootstrap'>
  /** Who wants it then: the cloud, by a window, or the agent's own schedule. */
  readonly because: 'window' | 'schedule'
}

/** A roll by schedule follows no other sooner than this, in milliseconds, however short certificates live. */
const leastRestMs = 60_000

/** The next roll that the agent begins by itself; `null` where it would not. */
export function nextOwnRoll(state: AgentState): OwnRoll | null {
  const certificate = state.generations.find((g) => g.number === state.active)?.certificate
  const { ownRolls } = state.policy
  if (ownRolls === null || certificate === undefined || certificate === null) return null
  const { rollWindow, lastRollAt, policy } = state
  if (rollWindow !== null && !rollWindow.served && rollWindow.start > certificate.notBefore) {
    const { start, end, mode } = rollWindow
    const wanted = Math.floor(start + (end - start) * chance(certificate))
    // A window that lies beyond the certificate's end must not lose the device.
    return { at: Math.min(wanted, emergencyFrom(policy, certificate)), mode, because: 'window' }
  }
  if (ownRolls.schedule === null) return null
  const at = Math.max(scheduled(ownRolls.schedule, certificate), restedAt(lastRollAt, certificate))
  return { at, mode: 'expiry', because: 'schedule' }
}

function scheduled(schedule: RollSchedule, certificate: CertificateFacts): Instant {
  const { notBefore } = certificate
  const end = endOf(certificate)
  const whole = end - notBefore
  const early = chance(certificate)
  if (schedule.kind === 'at')
    return Math.floor(notBefore + whole * (schedule.share - schedule.jitterShare * early))
  const at = end - schedule.beforeMs - schedule.jitterMs * early
  // A certificate that lives no longer than that would be due at once, and the next one too.
  return Math.floor(Math.max(at, notBefore + whole * (0.5 + 0.1 * (1 - early))))
}

/**
 * A roll that did not move the end, as when an authority above the certificate is about to expire, is not repeated at
 * once: half of what is left passes first.
 */
function restedAt(last: Instant | null, certificate: CertificateFacts): Instant {
  if (last === null) return -Infinity
  return Math.floor(last + Math.max(leastRestMs, (endOf(certificate) - last) / 2))
}

/** From 0 up to 1, fixed for each certificate: a thumbprint is as good as random. */
function chance({ thumbprint }: CertificateFacts): number {
  return (Number.parseInt(thumbprint.slice(0, 8), 16) || 0) / 2 ** 32
}
