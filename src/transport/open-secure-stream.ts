import { isIP } from 'node:net'
import { checkServerIdentity, connect, type SecureVersion, type TLSSocket } from 'node:tls'
import { LeafkeeperError } from '../errors.ts'
import { parseAddress, route } from './address.ts'
import type { DeviceCredential } from './credential.ts'
import type { NetworkOptions } from './network.ts'
import { classify } from './raw-cause.ts'
import { SecureStream } from './secure-stream.ts'
import { nameOf, type Service } from './service.ts'

const defaultConnectTimeoutMs = 20_000

/** How one connection is opened. */
export interface StreamOptions extends NetworkOptions {
  /** The highest version of TLS to agree on. Default: Node's own. */
  readonly maxVersion?: SecureVersion
  /** Goes on with a server that has proved nothing: for what is proved by other means, and with nothing to hide. */
  readonly isUnproven?: boolean
}

/**
 * Opens TCP and TLS to a service with the device's key, where it has one to show. The server must prove the service's own name, also where
 * `connectTo` leads elsewhere.
 *
 * @param signal Ends the attempt at once; its reason is thrown.
 * @throws LeafkeeperError the service's `unauthorized` code (a TLS alert about the certificate),
 * `NETWORK_UNREACHABLE`, `NETWORK_TIMEOUT`, `TLS_SERVER_UNTRUSTED`, `TLS_KEY_UNUSABLE`, `TLS_RESTART_NEEDED`, `PROTOCOL_ERROR`
 */
export async function openSecureStream(
  service: Service,
  credential: Pick<DeviceCredential, 'secureContext'>,
  options: StreamOptions,
  signal: AbortSignal,
): Promise<SecureStream> {
  signal.throwIfAborted()
  const socket = dial(service, credential, options)
  const timeoutMs = options.connectTimeoutMs ?? defaultConnectTimeoutMs
  const stop = new AbortController()
  try {
    await new Promise<void>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(
          new LeafkeeperError('NETWORK_TIMEOUT', {
            message: `${nameOf(service)} did not complete TCP and TLS within ${timeoutMs} ms.`,
          }),
        )
      }, timeoutMs)
      stop.signal.addEventListener('abort', () => clearTimeout(timer))
      signal.addEventListener('abort', () => reject(signal.reason as Error), { signal: stop.signal })
      socket.once('secureConnect', resolve)
      socket.on('error', (error) => reject(classify(error, service, socket)))
    })
    return new SecureStream(socket, service)
  } catch (error) {
    socket.destroy()
    throw error
  } finally {
    stop.abort()
  }
}

function dial(
  service: Service,
  credential: Pick<DeviceCredential, 'secureContext'>,
  options: StreamOptions,
): TLSSocket {
  const wanted = parseAddress(service.host)
  const { host, port } = route(wanted, options.connectTo)
  const secureContext = credential.secureContext(options.trustedAuthorities, options.maxVersion)
  try {
    const socket = connect({
      host,
      port,
      secureContext,
      ...(options.isUnproven === true ? { rejectUnauthorized: false } : {}),
      // RFC 6066, 3: an address literal is not permitted as a server name.
      ...(isIP(wanted.host) === 0 ? { servername: wanted.host } : {}),
      checkServerIdentity: (_name, certificate) => checkServerIdentity(wanted.host, certificate),
    })
    socket.setNoDelay(true)
    return socket
  } catch (error) {
    throw classify(error, service, {})
  }
}
