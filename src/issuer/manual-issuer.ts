import type { IssueAnswer, Issuer } from './issuer.ts'

const ticket = 'manual'

/** Nothing is asked meanwhile: what is waited for comes to the agent by itself. In milliseconds. */
const lookAgainMs = 24 * 60 * 60_000

/**
 * An issuer that waits: the request is fetched from the agent and the chain is brought to it, by the direct methods
 * `createCertificateRequest` and `installCertificate` or by the agent's calls of the same names. So a back end runs the
 * whole pipeline through the hub, or a person does by hand.
 *
 * Other issuers do not need it for that: whatever an agent waits for may be installed.
 *
 * @example
 * ```ts
 * const agent = await DeviceAgent.start({ ..., issuer: manualIssuer() })
 * const { csr } = await agent.createCertificateRequest()
 * await agent.installCertificate(await sign(csr))
 * ```
 */
export function manualIssuer(): Issuer {
  const later = (): Promise<IssueAnswer> =>
    Promise.resolve({ kind: 'pending', ticket, retryAfterMs: lookAgainMs })
  return { name: 'manual', submit: later, resume: later }
}
