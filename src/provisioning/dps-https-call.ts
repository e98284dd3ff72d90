import { createSecureContext } from 'node:tls'
import { LeafkeeperError } from '../errors.ts'
import { packageVersion } from '../package-version.ts'
import { parseAddress, route } from '../transport/address.ts'
import { httpOver } from '../transport/http-over-stream.ts'
import { openSecureStream } from '../transport/open-secure-stream.ts'
import { nameOf, type Service } from '../transport/service.ts'
import type { DpsResponse } from './dps-answer.ts'
import type { DpsOptions } from './dps-options.ts'

/** How to reach a Device Provisioning Service over HTTPS; the port is 443 where the host names none. */
export type DpsHttpsOptions = Omit<DpsOptions, 'onboarding'>

/** One question to DPS. */
export interface DpsCall {
  readonly method: 'PUT' | 'GET'
  /** What follows the name of the registration in the path. */
  readonly action: string
  readonly body?: string
  readonly authorization?: string
  readonly credential: { readonly registrationId: string }
  readonly options: DpsHttpsOptions
  readonly service: Service
  readonly signal: AbortSignal
}

const httpsPort = 443
const apiVersion = '2021-06-01'
/** An assignment has some 4 KiB, with whatever a custom allocation adds. */
const mostBytes = 256 * 1024
const defaultAnswerTimeoutMs = 30_000

/** How errors speak of it. @throws LeafkeeperError `AGENT_CONFIG_INVALID` where the host is not one */
export function dpsHttpsService({ provisioningHost, connectTo }: DpsHttpsOptions): Service {
  const address = parseAddress(provisioningHost, httpsPort)
  route(address, connectTo)
  const name = address.host.includes(':') ? `[${address.host}]` : address.host
  return {
    title: 'DPS',
    host: `${name}:${address.port}`,
    unauthorized: 'DPS_UNAUTHORIZED',
    unavailable: 'DPS_UNAVAILABLE',
    refused: 'DPS_REFUSED',
  }
}

/**
 * Asks one question, on a connection of its own.
 *
 * @throws LeafkeeperError `NETWORK_UNREACHABLE`, `NETWORK_TIMEOUT`, `TLS_SERVER_UNTRUSTED`, `PROTOCOL_ERROR`; and the
 * reason of the signal
 */
export async function askDpsOverHttps(call: DpsCall): Promise<DpsResponse> {
  const { method, action, body, authorization, credential, options, service, signal } = call
  const anonymous = { secureContext: (ca?: string) => createSecureContext(ca === undefined ? {} : { ca }) }
  const stream = await openSecureStream(service, anonymous, options, signal)
  const abort = (): void => stream.discard()
  signal.addEventListener('abort', abort)
  const answered = stream.expect('the registration', options.answerTimeoutMs ?? defaultAnswerTimeoutMs)
  const registration = `${encodeURIComponent(options.idScope)}/registrations/${encodeURIComponent(credential.registrationId)}`
  try {
    const {
      status,
      headers,
      body: received,
    } = await stream.until(
      httpOver(stream, {
        method,
        path: `/${registration}/${action}?api-version=${apiVersion}`,
        host: service.host.replace(/:443$/, ''),
        headers: {
          accept: 'application/json',
          'content-type': 'application/json; charset=utf-8',
          'user-agent': `leafkeeper/${packageVersion()}`,
          ...(authorization === undefined ? {} : { authorization }),
        },
        body,
        mostBytes,
        tooLarge: () =>
          new LeafkeeperError('PROTOCOL_ERROR', {
            message: `${nameOf(service)} answered with more than ${mostBytes} bytes.`,
          }),
      }),
    )
    return { status, retryAfter: headers['retry-after'], body: received }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    answered()
    signal.removeEventListener('abort', abort)
    await stream.close()
  }
}
