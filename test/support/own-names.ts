/**
 * Programs for which the host names of Azure lead to a simulated cloud, without a change to the programs, and without
 * one to this machine: each runs in a mount namespace, where it sees a hosts file of its own.
 */
import { spawn, spawnSync, type ChildProcess, type StdioOptions } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { SimulatedCloud, type CloudOptions } from 'leafkeeper-sim'

const root = resolve(import.meta.dirname, '../..')
const isRoot = process.getuid?.() === 0
/** A user who is not root may have such a namespace inside one in which they are. */
const namespace = isRoot ? ['--mount'] : ['--user', '--map-root-user', '--mount']

/** The lowest port that is not for root alone. */
function lowestFreePort(): number {
  const file = '/proc/sys/net/ipv4/ip_unprivileged_port_start'
  return existsSync(file) ? Number(readFileSync(file, 'utf8')) : 1024
}

/** Whether ports below 1024 are for root, and this process is not stopped by that. */
export const portsAreGuarded = isRoot && lowestFreePort() > 443

/** Whether this process may listen on port 443 and give names to its children; for `describe.skipIf`. */
export const mayHaveOwnNames =
  (isRoot || lowestFreePort() <= 443) && spawnSync('unshare', [...namespace, 'true']).status === 0

/** A loopback address that no other process of these tests has. */
export function ownLoopbackAddress(): string {
  const { pid } = process
  return ['127', 64 + ((pid >> 16) & 0x3f), (pid >> 8) & 0xff, pid & 0xff].join('.')
}

/** How a program is run. */
export interface ProgramOptions {
  readonly type: 'module' | 'commonjs'
  readonly env?: Readonly<Record<string, string>>
  readonly stdio: StdioOptions
}

/** A cloud under the host names of Azure, for programs that are started by it. */
export interface OwnNames {
  readonly cloud: SimulatedCloud
  /** Runs the text of a program, which imports packages as the files of this repository do. */
  run(text: string, options: ProgramOptions): ChildProcess
  close(): Promise<void>
}

/** Starts a cloud on an address of its own. */
export async function startOwnNames(options: CloudOptions = {}): Promise<OwnNames> {
  const cloud = await SimulatedCloud.start({ ownAddress: ownLoopbackAddress(), ...options })
  const folder = await mkdtemp(join(tmpdir(), 'leafkeeper-names-'))
  const [hostsFile, caFile] = [join(folder, 'hosts'), join(folder, 'ca.pem')]
  await writeFile(hostsFile, `127.0.0.1 localhost\n${cloud.hostsFile ?? ''}`)
  await writeFile(caFile, cloud.trustedAuthorities)
  return {
    cloud,
    run: (text, { type, env = {}, stdio }) => {
      const program = [process.execPath, `--input-type=${type}`, '--eval', text]
      const inNamespace = 'mount --bind "$0" /etc/hosts && exec "$@"'
      return spawn('unshare', [...namespace, 'sh', '-c', inNamespace, hostsFile, ...program], {
        cwd: root,
        env: { ...process.env, NODE_EXTRA_CA_CERTS: caFile, ...env },
        stdio,
      })
    },
    close: async () => {
      await cloud.close()
      await rm(folder, { recursive: true })
    },
  }
}
