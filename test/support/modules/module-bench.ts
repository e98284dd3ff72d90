import { execFileSync } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync } from 'node:fs'
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { initialiseToken, loadProfile, prepareSoftHsm, Secret, type HsmProfile } from 'leafkeeper'
import { temporaryToken, type TemporaryToken } from 'leafkeeper/testing'
import { softHsmModule } from '../softhsm.ts'
import { Background } from './background.ts'

/** The profiles of `hsm-config/` that are tried here. */
export const benchNames = ['softhsm', 'p11-kit-client', 'tpm2-pkcs11', 'nss-softokn'] as const

export type BenchName = (typeof benchNames)[number]

/** A folder of its own, what runs beside the test, and a PIN. */
interface Ground {
  readonly folder: string
  readonly background: Background
  readonly pin: string
  readonly profile: HsmProfile
}

const label = 'bench'
/** What the kernel does for a real TPM. */
const resourceManager = '/usr/sbin/tpm2-abrmd'

/** Whether Debian's packages for it are there; the set-up script installs them for tests. */
export function isInstalled(name: BenchName): boolean {
  const isThere = loadProfile(name).module.some((path) => existsSync(path))
  return isThere && (name !== 'tpm2-pkcs11' || existsSync(resourceManager))
}

/**
 * Makes a fresh token of this kind. A process can have one: modules read their environment once, and OpenSSL's engine
 * loads one module.
 */
export async function startBench(name: BenchName): Promise<TemporaryToken> {
  if (name === 'softhsm') return temporaryToken({ label })
  const folder = await mkdtemp(join(tmpdir(), 'leafkeeper-bench-'))
  const background = new Background(folder)
  const pin = randomBytes(6).toString('hex')
  const profile = loadProfile(name)
  const tokenLabel = await tokens[name]({ folder, background, pin, profile })
  const file = join(folder, 'pin')
  await writeFile(file, pin, { mode: 0o600 })
  return {
    options: { module: profile, token: { label: tokenLabel }, pin: { file } },
    folder,
    module: profile.name,
    label: tokenLabel,
    remove: async () => {
      await background.end()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** Makes a token, points the module at it, and gives its label. */
const tokens: Readonly<Record<Exclude<BenchName, 'softhsm'>, (ground: Ground) => Promise<string>>> = {
  /** SoftHSM in another process, where it could run as another user. */
  async 'p11-kit-client'({ folder, background, pin }) {
    const theirs = prepareSoftHsm(join(folder, 'softhsm'))
    const socket = join(folder, 'socket')
    execFileSync(
      'pkcs11-tool',
      [
        '--module',
        softHsmModule,
        '--init-token',
        '--slot-index',
        '0',
        '--label',
        label,
        '--so-pin',
        'env:PIN',
      ],
      { env: { ...process.env, ...theirs, PIN: pin }, stdio: 'ignore' },
    )
    execFileSync(
      'pkcs11-tool',
      [
        '--module',
        softHsmModule,
        '--token-label',
        label,
        '--init-pin',
        '--login',
        '--login-type',
        'so',
      ].concat(['--so-pin', 'env:PIN', '--new-pin', 'env:PIN']),
      { env: { ...process.env, ...theirs, PIN: pin }, stdio: 'ignore' },
    )
    const served = ['--provider', softHsmModule, `pkcs11:token=${label}`]
    await background.start('p11-kit', ['server', '-f', '-n', socket, ...served], /P11_KIT_SERVER_PID/, theirs)
    process.env['P11_KIT_SERVER_ADDRESS'] = `unix:path=${socket}`
    return label
  },

  /** A TPM of software, behind the resource manager that the kernel has for a real one. */
  async 'tpm2-pkcs11'({ folder, background, pin, profile }) {
    const [state, store] = [join(folder, 'tpm'), join(folder, 'store')]
    for (const each of [state, store]) await mkdir(each)
    const [socket, bus] = [join(folder, 'socket'), join(folder, 'bus')]
    await background.start(
      'swtpm',
      ['socket', '--tpm2', '--tpmstate', `dir=${state}`, '--flags', 'not-need-init,startup-clear']
        .concat(['--server', `type=unixio,path=${socket}`, '--ctrl', `type=unixio,path=${socket}.ctrl`])
        // It listens before it writes this.
        .concat(['--pid', 'fd=1']),
      /^\d+$/m,
    )
    await background.start(
      'dbus-daemon',
      ['--session', '--nofork', `--address=unix:path=${bus}`, '--print-address'],
      /guid=/,
    )
    process.env['DBUS_SESSION_BUS_ADDRESS'] = `unix:path=${bus}`
    const root = process.getuid?.() === 0 ? ['--allow-root'] : []
    await background.start(
      resourceManager,
      ['--session', ...root, `--tcti=swtpm:path=${socket}`],
      /on_name_acquired/,
      { G_MESSAGES_DEBUG: 'all' },
    )
    process.env['TPM2_PKCS11_TCTI'] = 'tabrmd:bus_type=session'
    process.env['TPM2_PKCS11_STORE'] = store
    initialiseToken({ module: profile, label, pin: new Secret(pin), soPin: new Secret(pin) })
    return label
  },

  async 'nss-softokn'({ folder, pin }) {
    const passwords = join(folder, 'passwords')
    await writeFile(passwords, `${pin}\n`, { mode: 0o600 })
    execFileSync('certutil', ['-N', '-d', `sql:${folder}`, '-f', passwords])
    process.env['NSS_CONFIG_DIR'] = folder
    // The module names it.
    return 'NSS Certificate DB'
  },
}
