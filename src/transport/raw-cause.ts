import { LeafkeeperError, messageOf } from '../errors.ts'
import { keyFailure } from './key-failure.ts'
import { nameOf, type Service } from './service.ts'

/** The alerts with which a server refuses the client's certificate (RFC 5246, 7.2.2; RFC 8446, 6.2). */
const certificateAlerts: Readonly<Record<number, string>> = {
  42: 'bad_certificate',
  43: 'unsupported_certificate',
  44: 'certificate_revoked',
  45: 'certificate_expired',
  46: 'certificate_unknown',
  48: 'unknown_ca',
  49: 'access_denied',
  116: 'certificate_required',
}
/** A signature did not verify, and the only one the client makes is with the device's key (RFC 8446, 6.2). */
const decryptError = 51

interface OpensslError extends Error {
  readonly code?: string
  readonly library?: string
  readonly reason?: string
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
  const said = error.reason ?? firstLine(error.message)

  const alert = alertNumber(error)
  if (alert === decryptError) {
    return new LeafkeeperError('TLS_KEY_UNUSABLE', {
      ...details,
      message: `${at} could not verify the signature of the device's key (TLS alert decrypt_error).`,
    })
  }
  const refusal = alert === undefined ? undefined : certificateAlerts[alert]
  if (refusal !== undefined) {
    return new LeafkeeperError(service.unauthorized, {
      ...details,
      reason: refusal,
      message: `${at} refused the device's certificate with the TLS alert ${refusal}.`,
    })
  }
  if (socket.authorizationError !== undefined && socket.authorizationError !== null) {
    return new LeafkeeperError('TLS_SERVER_UNTRUSTED', {
      ...details,
      message: `The certificate of ${at} is not trusted: ${said}.`,
    })
  }
  if (isKeyFailure(error)) {
    return new LeafkeeperError(keyFailure(said), {
      ...details,
      message: `OpenSSL could not sign with the device's key while connecting to ${at}: ${said}.`,
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
      message: `TLS with ${at} failed: ${said}.`,
    })
  }
  return new LeafkeeperError('NETWORK_UNREACHABLE', {
    ...details,
    message: `The connection to ${at} failed: ${reason}.`,
  })
}

/** OpenSSL spells alerts in many ways over its versions, but always ends with their number. */
function alertNumber(error: Error): number | undefined {
  const digits = /SSL alert number (\d+)\s*$/.exec(error.message)?.[1]
  return digits === undefined ? undefined : Number(digits)
}

/**
 * The module's own errors come through OpenSSL under its library (`PKCS#11 module`, `pkcs11 engine`); `EVP lib` is
 * what TLS reports when a signature could not be made for another reason.
 */
function isKeyFailure(error: OpensslError): boolean {
  const trail = [error.library ?? '', ...(error.opensslErrorStack ?? [])]
  return (
    (error.code?.startsWith('ERR_OSSL_') ?? false) ||
    error.code === 'ERR_SSL_EVP_LIB' ||
    trail.some((line) => /pkcs ?#?11|engine/i.test(line))
  )
}

function firstLine(text: string): string {
  return text.split('\n', 1)[0] ?? ''
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
