import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer, type AddressInfo } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { ServerCredential } from '../pki/server-certificate.ts'

/** A broker that runs until it is stopped. */
export interface RunningBroker {
  readonly port: number
  stop(): Promise<void>
}

/**
 * Starts mosquitto on a free port of the loopback address, for clients with a certificate of one authority.
 *
 * @param clientAuthority - PEM
 * @throws Error that tells how to install it where it is missing
 */
export async function startMosquitto(
  server: Pick<ServerCredential, 'key' | 'certificate'>,
  clientAuthority: string,
): Promise<RunningBroker> {
  const folder = await mkdtemp(join(tmpdir(), 'leafkeeper-bench-'))
  const remove = async (): Promise<void> => rm(folder, { recursive: true, force: true })
  try {
    const port = await freePort()
    const file = async (name: string, text: string): Promise<string> => {
      await writeFile(join(folder, name), text, { mode: 0o600 })
      return join(folder, name)
    }
    const configuration = [
      `listener ${port} 127.0.0.1`,
      `cafile ${await file('clients.pem', clientAuthority)}`,
      `certfile ${await file('server.pem', server.certificate)}`,
      `keyfile ${await file('server.key', server.key)}`,
      'require_certificate true',
      'allow_anonymous true',
      'persistence false',
      'set_tcp_nodelay true',
      'connection_messages false',
      'log_dest stderr',
      // One line says that it runs; the others would only cost it time.
      'log_type information',
      // It would give up root, and then could not read the files above.
      ...(process.getuid?.() === 0 ? ['user root'] : []),
    ]
    const stop = await run(await file('mosquitto.conf', `${configuration.join('\n')}\n`))
    return {
      port,
      stop: async () => {
        await stop()
        await remove()
      },
    }
  } catch (error) {
    await remove()
    throw error
  }
}

async function run(configuration: string): Promise<() => Promise<void>> {
  const child = spawn('mosquitto', ['-c', configuration], {
    // Debian keeps it where only root's PATH leads.
    env: { ...process.env, PATH: `${process.env['PATH'] ?? ''}:/usr/sbin` },
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const failed = once(child, 'error').then(([cause]) => {
    throw new Error('mosquitto could not be started; install it: bash hsm-config/setup.sh --bench', { cause })
  })
  const said: string[] = []
  const running = new Promise<void>((resolve, reject) => {
    createInterface(child.stderr).on('line', (line) => {
      said.push(line)
      if (/mosquitto version .* running/.test(line)) resolve()
    })
    child.once('close', (code) =>
      reject(new Error(`mosquitto ended with ${String(code)}: ${said.join(' ')}`)),
    )
  })
  await Promise.race([running, failed])
  return async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    const ended = once(child, 'close')
    child.kill()
    await ended
  }
}

/** mosquitto takes no port 0. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as AddressInfo
  server.close()
  await once(server, 'close')
  return port
}
