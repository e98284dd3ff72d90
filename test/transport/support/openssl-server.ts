import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Identity } from './authority.ts'

/** Whether `openssl s_server` is there. */
export const hasOpenssl = spawnSync('openssl', ['version']).status === 0

/**
 * A server that refuses client certificates with a real TLS alert. Node's own server cannot: it accepts any certificate
 * during the handshake, and then just closes the socket.
 */
export async function opensslServer(
  identity: Identity,
  clientAuthority: string,
  version: '-tls1_2' | '-tls1_3',
): Promise<AsyncDisposable & { readonly port: number }> {
  const folder = await mkdtemp(join(tmpdir(), 'leafkeeper-s-server-'))
  const write = async (name: string, text: string): Promise<string> => {
    const path = join(folder, name)
    await writeFile(path, text, { mode: 0o600 })
    return path
  }
  const server = spawn('openssl', [
    ...['s_server', '-accept', '127.0.0.1:0', version, '-Verify', '1', '-verify_return_error'],
    ...['-key', await write('key.pem', identity.key), '-cert', await write('cert.pem', identity.certificate)],
    ...['-CAfile', await write('clients.pem', clientAuthority)],
  ])
  const port = await new Promise<number>((resolve, reject) => {
    let said = ''
    server.stdout.on('data', (chunk: Buffer) => {
      said += chunk.toString()
      const match = /ACCEPT \S*:(\d+)/.exec(said)
      if (match !== null) resolve(Number(match[1]))
    })
    server.once('error', reject)
    server.once('exit', () => reject(new Error(`openssl s_server ended: ${said}`)))
  })
  return {
    port,
    [Symbol.asyncDispose]: async () => {
      const exited = once(server, 'exit')
      server.kill()
      await exited
      await rm(folder, { recursive: true })
    },
  }
}
