import type { CertificateInfo } from '../certificate/read-certificate.ts'
import { errorTable } from '../error-table.ts'
import type { TwinProperties } from '../twin-channel.ts'
import type { LastRoll } from './narrator.ts'
import type { AgentStatus } from './status.ts'
import type { AgentState } from './states.ts'

/** What the report is made of. */
export interface TwinReportParts {
  readonly version: string
  readonly status: AgentStatus
  readonly state: AgentState
  /** The active certificate; `undefined` before the first. */
  readonly certificate: CertificateInfo | undefined
  /** What became of the last roll of this process. */
  readonly lastRoll: LastRoll | null
}

/**
 * What a back end sees of the agent, in the reported properties of the device's twin. Dates as ISO 8601; no secret, and
 * nothing that changes while nothing happens.
 */
export function twinReport({
  version,
  status,
  state,
  certificate,
  lastRoll,
}: TwinReportParts): TwinProperties {
  const { roll } = state
  const { active, nextRoll, token } = status
  const code = roll.phase === 'staged' || roll.phase === 'failed' ? roll.code : null
  return {
    version,
    roll: {
      phase: roll.phase,
      generation: 'plan' in roll ? roll.plan.generation : null,
      mode: 'plan' in roll ? roll.plan.mode : null,
      code,
      meaning: code === null ? null : errorTable[code].meaning,
      advice: code === null ? null : errorTable[code].cure,
    },
    certificate:
      active === null || certificate === undefined
        ? null
        : {
            generation: active.generation,
            thumbprint: active.thumbprint,
            serial: certificate.serial,
            issuer: certificate.issuer,
            notBefore: iso(active.notBefore),
            notAfter: iso(active.notAfter),
          },
    nextRoll:
      nextRoll === null ? null : { at: iso(nextRoll.at), mode: nextRoll.mode, because: nextRoll.because },
    // What an earlier process reported stays until there is something newer.
    ...(lastRoll === null ? {} : { lastRoll: { ...lastRoll, at: iso(lastRoll.at) } }),
    hsm: { module: token.module, token: token.label, serial: token.serial, model: token.model },
  }
}

function iso(instant: number): string {
  return new Date(instant).toISOString()
}
