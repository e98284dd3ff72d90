import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import tls from 'node:tls'
import type { TestAuthority } from './test-authority.ts'

/** A TLS server that asks for a client certificate of one authority and tells the client whom it saw. */
export interface MutualTls {
  /** Connects and gives `<common name> <protocol>`. */
  handshake(secureContext: tls.SecureContext): Promise<string>
  close(): void
}

export async function startMutualTls(
  authority: TestAuthority,
  options: tls.TlsOptions = {},
): Promise<MutualTls> {
  const server = tls.createServer(
    { ...(await authority.server()), requestCert: true, ...options },
    (socket) => {
      socket.end(`${String(socket.getPeerCertificate().subject.CN)} ${socket.getProtocol() ?? ''}`)
    },
  )
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return {
    handshake: async (secureContext) => {
      const { port } = server.address() as AddressInfo
      const socket = tls.connect({ host: '127.0.0.1', port, servername: 'localhost', secureContext })
      const parts: Buffer[] = []
      for await (const part of socket) parts.push(part as Buffer)
      return Buffer.concat(parts).toString()
    },
    close: () => {
      server.close()
    },
  }
}
