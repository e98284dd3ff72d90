import { chainByPath } from '../certificate/chain-path.ts'
import { readCertificate } from '../certificate/read-certificate.ts'
import { base64OfRequest, publicKeyOfRequest } from '../certificate/request.ts'
import { LeafkeeperError } from '../errors.ts'
import { toPem } from '../hsm/pem.ts'
import { withBootstrap } from './est-access.ts'
import { base64In, certificatesIn, pauseOf } from './est-answer.ts'
import { readCsrAttributes, requireWanted } from './est-csr-attributes.ts'
import { askEst, type EstAccess, type EstQuestion, type EstResponse } from './est-exchange.ts'
import { completeEstOptions, type EstIssuerOptions, type EstServer } from './est-options.ts'
import { trustByFingerprint } from './est-trust.ts'
import type { IssueAnswer, IssueRequest, Issuer } from './issuer.ts'

/**
 * Enrollment over Secure Transport (RFC 7030, with RFC 8951): the standard way to an authority of one's own.
 *
 * The first certificate is enrolled for with `bootstrap`; every later one with the certificate that is in use, by TLS
 * with its key inside the HSM. Where that one has expired, or is replaced because its key is in other hands (a roll for
 * a breach), the device shows `bootstrap` again, if there is one.
 *
 * The server has to prove its name to `trustedAuthorities` first, or to the authority that `fingerprint` is of. Each try asks for the server's authorities, with whom
 * the certificate is made a chain, and for what requests are to have; a 202 is pending until Retry-After, and then the
 * same request is sent again, also by a later process. Redirections are not followed.
 *
 * Of what requests are to have (RFC 7030, 4.5.2), it puts in extensions that are given with a value (RFC 9908, 3.2), and
 * the challengePassword that ties a request to its connection (RFC 7030, 3.5), for which it speaks TLS 1.2. A key or a
 * hash that the server wants and the request has not is an error, since the key is there already: `keyType` of the agent
 * has to fit. Everything else is passed over, as RFC 7030 has it; the template of RFC 9908, 3.4 is too.
 *
 * @example
 * ```ts
 * estIssuer({
 *   server: 'est.example',
 *   trustedAuthorities: readFileSync('/etc/leafkeeper/est-ca.pem', 'utf8'),
 *   bootstrap: { basic: { user: 'gateway-7', password: { file: '/etc/leafkeeper/est-password' } } },
 * })
 * ```
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID` for a value out of its range. A request rejects with
 * `ISSUER_UNAVAILABLE` (408, 429, 5xx, with the server's pause), `ISSUER_REFUSED` (other statuses, or a key that the
 * server does not want; the reason is the status), `ISSUER_CREDENTIAL_MISSING`, `CERT_*` for a wrong certificate, and
 * `NETWORK_*`, `TLS_*`, `HSM_*`, `PROTOCOL_ERROR` where the server was not understood
 */
export function estIssuer(options: EstIssuerOptions): Issuer {
  const server = completeEstOptions(options)
  return {
    name: `EST ${options.server}`,
    submit: (request) => enroll(request, undefined, server),
    resume: (ticket, request) => enroll(request, ticket, server),
  }
}

/** @param ticket the request as it was sent before: Base64 of the DER */
async function enroll(
  request: IssueRequest,
  ticket: string | undefined,
  configured: EstServer,
): Promise<IssueAnswer> {
  const { signal, release } = withDeadline(request.signal, configured)
  try {
    const server = await trustByFingerprint(configured, signal)
    return await withAccess(request, server, async (operation, access) => {
      const ask = (question: EstQuestion): Promise<EstResponse> => askEst(question, access, server, signal)
      // First, so that no certificate is issued that cannot be used.
      const published = certificatesIn(await ask({ operation: 'cacerts' }), server)
      const csr = isFor(request, ticket)
        ? ticket
        : await wantedRequest(request, await ask({ operation: 'csrattrs' }), server)
      const response = await ask({ operation, csr })
      if (response.status === 202) {
        const retryAfterMs = pauseOf(response, server.now()) ?? server.retryAfterMs
        return { kind: 'pending', ticket: ticketFor(csr), retryAfterMs }
      }
      const chain = chainByPath({
        publicKey: publicKeyOfRequest(request.csr),
        issued: certificatesIn(response, server),
        published,
        anchors: server.anchors,
      })
      return { kind: 'issued', chain: toPem(chain) }
    })
  } finally {
    release()
  }
}

type Enrolment = 'simpleenroll' | 'simplereenroll'

/** Chooses by what the device is known. */
async function withAccess<Result>(
  { credential, reason, commonName }: IssueRequest,
  { bootstrap, now }: EstServer,
  work: (operation: Enrolment, access: EstAccess) => Promise<Result>,
): Promise<Result> {
  const isTrusted = (chain: string): boolean =>
    reason !== 'breach' && readCertificate(chain).notAfter.getTime() > now()
  if (credential !== undefined && (bootstrap === undefined || isTrusted(credential.chain)))
    return work('simplereenroll', credential)
  if (bootstrap !== undefined)
    return withBootstrap(bootstrap, commonName, (access) => work('simpleenroll', access))
  throw new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message:
      'The device has no certificate yet, and the EST issuer has nothing else to show: give it bootstrap, or the agent another issuer for the first certificate (issuerByReason).',
  })
}

/**
 * The request itself, so that it is the same one that is sent again. One that is tied to its connection is made again for
 * the next one, and so is one that is longer than a ticket may be.
 */
function ticketFor(csr: string | ((tlsUnique: string) => Promise<string>)): string {
  return typeof csr === 'string' && csr.length <= longestTicket ? csr : 'made anew'
}

const longestTicket = 4_096

/** A ticket can be of another issuer, where the agent was given this one meanwhile. */
function isFor({ csr }: IssueRequest, ticket: string | undefined): ticket is string {
  if (ticket === undefined) return false
  try {
    return Buffer.from(publicKeyOfRequest(ticket)).equals(publicKeyOfRequest(csr))
  } catch {
    return false
  }
}

/** Statuses that mean that the server has no wishes (RFC 7030, 4.5.2), or does not know of this optional operation. */
const withoutWishes: ReadonlySet<number> = new Set([204, 404, 501])

/** The request in Base64, as the server wants it; or how it is made once there is a connection to tie it to. */
async function wantedRequest(
  { csr, sign }: IssueRequest,
  response: EstResponse,
  server: EstServer,
): Promise<string | ((tlsUnique: string) => Promise<string>)> {
  const wishes = withoutWishes.has(response.status)
    ? undefined
    : Buffer.from(base64In(response, 'application/csrattrs', server), 'base64')
  const wanted = readCsrAttributes(wishes)
  requireWanted(publicKeyOfRequest(csr), wanted)
  const { isLinked, extensions } = wanted
  if (isLinked)
    return async (challengePassword) => base64OfRequest(await sign({ challengePassword, extensions }))
  return base64OfRequest(extensions.length === 0 ? csr : await sign({ extensions }))
}

/** One limit for all that a try does. */
function withDeadline(
  given: AbortSignal,
  { deadlineMs }: EstServer,
): { readonly signal: AbortSignal; readonly release: () => void } {
  const limit = new AbortController()
  const pass = (): void => limit.abort(given.reason)
  const timer = setTimeout(() => {
    limit.abort(
      new LeafkeeperError('NETWORK_TIMEOUT', {
        message: `The EST server did not come to an end within ${deadlineMs} ms.`,
      }),
    )
  }, deadlineMs)
  if (given.aborted) pass()
  given.addEventListener('abort', pass)
  return {
    signal: limit.signal,
    release: () => {
      clearTimeout(timer)
      given.removeEventListener('abort', pass)
    },
  }
}
