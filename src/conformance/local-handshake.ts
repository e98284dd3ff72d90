import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { connect, createServer, type SecureVersion, type TLSSocket } from 'node:tls'
import type { Pem } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import type { TlsBinding } from '../hsm/tls-binding.ts'
import { localServer } from './throw-away-certificate.ts'

const limitMs = 15_000

/**
 * A mutual TLS handshake over the loopback address, with a key on the token and a certificate that the server trusts.
 *
 * @returns The version agreed on, as `TLSv1.3`
 * @throws LeafkeeperError `TLS_*`; Error with what either side says
 */
export async function handshakeLocally(
  tls: TlsBinding,
  { keyUri, chain, version }: { keyUri: string; chain: Pem; version: SecureVersion },
): Promise<string> {
  const credential = await localServer()
  const server = createServer({
    ...credential,
    ca: chain,
    requestCert: true,
    rejectUnauthorized: true,
    minVersion: 'TLSv1.2',
  })
  server.on('secureConnection', (socket) => socket.end(socket.getProtocol() ?? ''))
  const refused = new Promise<never>((_, reject) => server.once('tlsClientError', reject))
  refused.catch(() => undefined)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  let socket: TLSSocket | undefined
  try {
    const secureContext = tls.secureContext(keyUri, chain, credential.cert, version)
    const { port } = server.address() as AddressInfo
    socket = connect({ host: '127.0.0.1', port, servername: 'localhost', secureContext })
    socket.setTimeout(limitMs, () =>
      socket?.destroy(
        new LeafkeeperError('TLS_KEY_UNUSABLE', {
          message: `A handshake with the key ${keyUri} did not end within ${limitMs / 1000} s.`,
        }),
      ),
    )
    return await Promise.race([spokenBy(socket), refused])
  } finally {
    socket?.destroy()
    server.close()
    tls.forget(keyUri)
  }
}

async function spokenBy(socket: TLSSocket): Promise<string> {
  const parts: Buffer[] = []
  for await (const part of socket) parts.push(part as Buffer)
  return Buffer.concat(parts).toString()
}
