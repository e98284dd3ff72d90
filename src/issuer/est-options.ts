import type { Thumbprint } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import { certificatesInPem } from '../hsm/pem.ts'
import type { SecretSource } from '../secret-source.ts'
import { parseAddress, route } from '../transport/address.ts'
import type { NetworkOptions } from '../transport/network.ts'
import type { StreamOptions } from '../transport/open-secure-stream.ts'
import type { Service } from '../transport/service.ts'
import type { TokenCertificate } from '../transport/token-credential.ts'

/** Certificate and key as PEM files, the leaf first; the key without a passphrase. */
export interface CertificateFiles {
  readonly certificate: { readonly file: string }
  readonly key: { readonly file: string }
}

/** What a device shows to an EST server before it has a certificate of it: a password, a certificate, or both. */
export interface EstBootstrap {
  /** HTTP Basic, inside TLS (RFC 7030, 3.2.3). The user may be empty, where the password belongs to none. */
  readonly basic?: { readonly user: string; readonly password: SecretSource }
  /** TLS with a certificate from elsewhere, such as the manufacturer's (RFC 7030, 3.3.2). */
  readonly certificate?: CertificateFiles | TokenCertificate
}

/** How an EST server is reached, and what is shown to it. */
export interface EstIssuerOptions extends NetworkOptions {
  /** Its host name; `host:port` where the port is not 443. */
  readonly server: string
  /** The label of the path, where the server has several authorities or profiles (RFC 7030, 3.2.2). */
  readonly label?: string
  /**
   * PEM of the authorities at which the chain of an issued certificate has to end. Default: those that the server
   * publishes, after it has proved its name.
   */
  readonly anchors?: string
  /**
   * The one authority to trust, in place of `anchors`, by the SHA-256 of its certificate: hexadecimal, with or without
   * colons. The server publishes the certificate. Without `trustedAuthorities`, this authority has to have signed the
   * server's certificate too: that is all a device needs to have been told beforehand (RFC 7030, 4.1.1).
   */
  readonly fingerprint?: string
  /** For the first certificate; and for a later one where the present one has expired or is in other hands. */
  readonly bootstrap?: EstBootstrap
  /** How long one try may take as a whole, in milliseconds. Default one minute, at most five. */
  readonly deadlineMs?: number
  /** When a certificate that is not there yet is asked for again, where the server does not say, in milliseconds. Default one minute. */
  readonly retryAfterMs?: number
  /** For tests and simulations: milliseconds since 1970. */
  readonly now?: () => number
}

/** An EST server as it is asked. */
export interface EstServer {
  readonly service: Service
  /** Before the operation, as in `/.well-known/est/label/`. */
  readonly path: string
  /** The header field. */
  readonly host: string
  readonly network: StreamOptions
  /** DER. */
  readonly anchors: readonly Buffer[] | undefined
  readonly fingerprint: Thumbprint | undefined
  readonly bootstrap: EstBootstrap | undefined
  readonly deadlineMs: number
  readonly retryAfterMs: number
  readonly now: () => number
}

const httpsPort = 443
/** How long one try may take at most, in milliseconds. */
export const longestEstMs = 5 * 60_000
/** The operations are no labels (RFC 7030, 3.2.2). */
const operations = ['cacerts', 'csrattrs', 'simpleenroll', 'simplereenroll', 'fullcmc', 'serverkeygen']

/**
 * Checks the options.
 *
 * @throws LeafkeeperError `AGENT_CONFIG_INVALID`
 */
export function completeEstOptions(options: EstIssuerOptions): EstServer {
  const { label = '', bootstrap, deadlineMs = 60_000, retryAfterMs = 60_000, now = Date.now } = options
  const address = parseAddress(options.server, httpsPort)
  const name = address.host.includes(':') ? `[${address.host}]` : address.host
  const host = `${name}:${address.port}`
  route(address, options.connectTo)
  if (!/^[A-Za-z0-9._~-]*$/.test(label) || operations.includes(label))
    throw invalid(
      `label to be of letters, digits and . _ ~ -, and no operation of EST, got ${JSON.stringify(label)}`,
    )
  requireDuration('deadlineMs', deadlineMs, longestEstMs)
  requireDuration('retryAfterMs', retryAfterMs, Number.MAX_SAFE_INTEGER)
  const anchors = options.anchors === undefined ? undefined : certificatesInPem(options.anchors)
  if (anchors?.length === 0) throw invalid('anchors to be PEM certificates, got none')
  const fingerprint = options.fingerprint?.replaceAll(':', '').toUpperCase()
  if (fingerprint !== undefined && !/^[0-9A-F]{64}$/.test(fingerprint))
    throw invalid('fingerprint to be a SHA-256 of 64 hexadecimal digits')
  if (fingerprint !== undefined && anchors !== undefined)
    throw invalid('trust to be in anchors or in a fingerprint, got both')
  const user = bootstrap?.basic?.user
  // RFC 7617, 2.
  if (user !== undefined && /[:\p{Cc}]/u.test(user))
    throw invalid('user name to be without colons and control characters')
  if (bootstrap !== undefined && bootstrap.basic === undefined && bootstrap.certificate === undefined)
    throw invalid('bootstrap to have basic or certificate, got neither')
  return {
    service: {
      title: 'EST server',
      host,
      unauthorized: 'ISSUER_REFUSED',
      unavailable: 'ISSUER_UNAVAILABLE',
      refused: 'ISSUER_REFUSED',
    },
    path: `/.well-known/est/${label === '' ? '' : `${label}/`}`,
    host: address.port === httpsPort ? name : host,
    network: options,
    anchors,
    fingerprint: fingerprint as Thumbprint | undefined,
    bootstrap,
    deadlineMs,
    retryAfterMs,
    now,
  }
}

function requireDuration(name: string, value: number, most: number): void {
  if (Number.isFinite(value) && value >= 1 && value <= most) return
  throw invalid(`${name} to be from 1 to ${most}, got ${String(value)}`)
}

function invalid(expected: string): LeafkeeperError {
  return new LeafkeeperError('AGENT_CONFIG_INVALID', {
    message: `Expected the EST issuer's ${expected}.`,
  })
}
