import { once } from 'node:events'
import type { IncomingMessage, OutgoingHttpHeaders } from 'node:http'
import { createServer } from 'node:https'
import type { AddressInfo } from 'node:net'
import { buffer } from 'node:stream/consumers'
import { TLSSocket, type TlsOptions } from 'node:tls'
import { generateKeyFile, type TestAuthority } from 'leafkeeper-sim'
import { onTestFinished } from 'vitest'

/** A request as it came. */
export interface Asked {
  readonly method: string
  readonly path: string
  /** Names and values one after another, as they were sent. */
  readonly rawHeaders: readonly string[]
  readonly headers: IncomingMessage['headers']
  readonly body: string
  readonly protocol: string | null
  /** Base64. */
  readonly tlsUnique: string
  readonly socket: TLSSocket
}

export interface Said {
  readonly status?: number
  readonly headers?: OutgoingHttpHeaders
  readonly body?: string | Buffer
}

/** What is said to an operation; where it is `undefined`, nothing. An operation that is not here is answered by 404. */
export type Script = Readonly<Record<string, (asked: Asked) => Said | undefined | Promise<Said>>>

export interface ScriptedEst {
  /** As the issuer is given it. */
  readonly server: string
  readonly connectTo: Readonly<Record<string, string>>
  readonly asked: Asked[]
  /** Resolves when no connection is open. */
  readonly left: () => Promise<void>
}

const serverAuth = '1.3.6.1.5.5.7.3.1'

/** An HTTPS server by the name of est.example that says what the test tells it to. */
export async function scriptedEst(
  authority: TestAuthority,
  script: Script,
  tls: TlsOptions = {},
): Promise<ScriptedEst> {
  const name = 'est.example'
  const { publicKey, privateKeyPem } = await generateKeyFile()
  const { chain } = await authority.issueLeaf({
    commonName: name,
    publicKey,
    extendedKeyUsage: [serverAuth],
    alternativeNames: [{ type: 'dns', value: name }],
  })
  const asked: Asked[] = []
  const open = new Set<TLSSocket>()
  const options = { key: privateKeyPem, cert: chain, requestCert: true, rejectUnauthorized: false, ...tls }
  const server = createServer(options, (incoming, outgoing) => {
    void buffer(incoming).then(async (body) => {
      const { method = '', url: path = '', rawHeaders, headers, socket } = incoming
      if (!(socket instanceof TLSSocket)) throw new Error('no TLS')
      const one = {
        method,
        path,
        rawHeaders,
        headers,
        body: body.toString('latin1'),
        protocol: socket.getProtocol(),
        tlsUnique: socket.getPeerFinished()?.toString('base64') ?? '',
        socket,
      }
      asked.push(one)
      const answer = script[path.split('/').at(-1) ?? '']
      const said = answer === undefined ? { status: 404 } : await answer(one)
      if (said === undefined) return
      outgoing.writeHead(said.status ?? 200, said.headers)
      outgoing.end(said.body)
    })
  })
  const waiting: (() => void)[] = []
  server.on('secureConnection', (socket) => {
    open.add(socket)
    socket.on('error', () => {
      // The test breaks connections on purpose.
    })
    socket.once('close', () => {
      open.delete(socket)
      for (const wake of waiting.splice(0)) wake()
    })
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  onTestFinished(async () => {
    server.closeAllConnections()
    server.close()
    await once(server, 'close')
  })
  const { port } = server.address() as AddressInfo
  return {
    server: name,
    connectTo: { [name]: `127.0.0.1:${port}` },
    asked,
    left: async () => {
      while (open.size > 0) await new Promise<void>((resolve) => waiting.push(resolve))
    },
  }
}
