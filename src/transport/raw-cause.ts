import { LeafkeeperError, messageOf } from '../errors.ts'
import { nameOf, type Service } from './service.ts'

/**
 * The alerts with which a server refuses the client's certificate (RFC 5246, 7.2.2; RFC 8446, 6.2). OpenSSL spells
 * them `ERR_SSL_SSLV3_ALERT_BAD_CERTIFICATE`, `ERR_SSL_TLSV1_ALERT_UNKNOWN_CA`, `ERR_SSL_SSL/TLS_ALERT_…` and so on.
 */
const certificateAlerts = new Set([
  'BAD_CERTIFICATE',
  'UNSUPPORTED_CERTIFICATE',
  'CERTIFICATE_REVOKED',
  'CERTIFICATE_EXPIRED',
  'CERTIFICATE_UNKNOWN',
  'CERTIFICATE_REQUIRED',
  'UNKNOWN_CA',
  'ACCESS_DENIED',
])

interface OpensslError extends Error {
  readonly code?: string
  readonly library?: string
  readonly opensslErrorStack?: readonly string[]
}

/** What the classification needs to know of the socket. */
export interface SocketFacts {
  /** Set by Node when it rejected the server's certificate. */
  readonly authorizationError?: Error | string | null
}

/**
 * Tells why a TLS connection failed, from the error of the socket itself. The official SDKs call every first failure
 * unauthorized; only what a server really said about the certificate may send a device to DPS.
 */
export function classify(thrown: unknown, service: Service, socket: SocketFacts): LeafkeeperError {
  if (thrown instanceof LeafkeeperError) return thrown
  const error = (thrown instanceof Error ? thrown : new Error(messageOf(thrown))) as OpensslError
  const reason = error.code ?? error.name
  const details = { cause: error, reason }
  const at = nameOf(service)

  const alert = /_ALERT_([A-Z_]+)$/.exec(reason)?.[1]
  if (alert === 'DECRYPT_ERROR') {
    // RFC 8446, 6.2: a signature did not verify, and the only one the client made is with the device's key.
    return new LeafkeeperError('TLS_KEY_UNUSABLE', {
      ...details,
      message: `${at} could not verify the signature of the device's key: TLS alert decrypt_error.`,
    })
  }
  if (alert !== undefined && certificateAlerts.has(alert)) {
    return new LeafkeeperError(service.unauthorized, {
      ...details,
      message: `${at} refused the device's certificate with the TLS alert ${alert.toLowerCase()}.`,
    })
  }
  if (socket.authorizationError !== undefined && socket.authorizationError !== null) {
    return new LeafkeeperError('TLS_SERVER_UNTRUSTED', {
      ...details,
      message: `The certificate of ${at} is not trusted: ${error.message}.`,
    })
  }
  if (isKeyFailure(error)) {
    return new LeafkeeperError('TLS_KEY_UNUSABLE', {
      ...details,
      message: `OpenSSL could not sign with the device's key while connecting to ${at}: ${error.message}.`,
    })
  }
  if (reason === 'ETIMEDOUT') {
    return new LeafkeeperError('NETWORK_TIMEOUT', {
      ...details,
      message: `${at} did not answer in time (${reason}).`,
    })
  }
  if (reason.startsWith('ERR_SSL_')) {
    return new LeafkeeperError('PROTOCOL_ERROR', {
      ...details,
      message: `TLS with ${at} failed: ${error.message}.`,
    })
  }
  return new LeafkeeperError('NETWORK_UNREACHABLE', {
    ...details,
    message: `The connection to ${at} failed: ${reason}.`,
  })
}

/**
 * The engine's own errors stand below OpenSSL's; `EVP lib` is what TLS reports when the signature could not be made.
 * A local failure is never an alert: those were the server's.
 */
function isKeyFailure(error: OpensslError): boolean {
  const trail = [error.message, error.library ?? '', ...(error.opensslErrorStack ?? [])]
  return (
    (error.code?.startsWith('ERR_OSSL_') ?? false) ||
    error.code === 'ERR_SSL_EVP_LIB' ||
    trail.some((line) => /pkcs11|engine/i.test(line))
  )
}

/** The return codes of CONNACK (MQTT 3.1.1, 3.2.2.3). */
const connackMeanings: Readonly<Record<number, string>> = {
  1: 'unacceptable protocol version',
  2: 'identifier rejected',
  3: 'server unavailable',
  4: 'bad user name or password',
  5: 'not authorized',
}

/** What a CONNACK other than 0 means. */
export function connackRefusal(returnCode: number, service: Service): LeafkeeperError {
  const unauthorized = returnCode === 4 || returnCode === 5
  const code = unauthorized ? service.unauthorized : returnCode === 3 ? service.unavailable : service.refused
  return new LeafkeeperError(code, {
    reason: `CONNACK ${returnCode}`,
    message: `${nameOf(service)} refused the MQTT connection: ${connackMeanings[returnCode] ?? 'unknown reason'} (CONNACK ${returnCode}).`,
  })
}
