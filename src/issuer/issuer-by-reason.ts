import type { IssueRequest, Issuer } from './issuer.ts'

/** Which issuer is asked, by why a certificate is needed. */
export interface IssuersByReason {
  /** For the first certificate of a device. */
  readonly bootstrap: Issuer
  /** For every certificate after that. */
  readonly roll: Issuer
}

/**
 * Two issuers as one: some can issue the first certificate only, and others only to a device that has one already.
 *
 * @example
 * ```ts
 * issuerByReason({ bootstrap: dpsIssuer({ ... }), roll: hubIssuer() })
 * ```
 */
export function issuerByReason({ bootstrap, roll }: IssuersByReason): Issuer {
  // The reason of a roll is the same after a restart, so a ticket comes back to whoever gave it.
  const issuerFor = ({ reason }: IssueRequest): Issuer => (reason === 'bootstrap' ? bootstrap : roll)
  const hubApiVersion = roll.hubApiVersion ?? bootstrap.hubApiVersion
  return {
    name: `${bootstrap.name}, then ${roll.name}`,
    ...(hubApiVersion === undefined ? {} : { hubApiVersion }),
    submit: (request) => issuerFor(request).submit(request),
    resume: (ticket, request) => issuerFor(request).resume(ticket, request),
  }
}
