import { spawnSync } from 'node:child_process'
import {
  chmodSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'

const project = fileURLToPath(new URL('../../', import.meta.url))

/** The tools the script uses that a machine has anyway; what it installs, and what installs, each test brings. */
const tools = ['bash', 'node', 'dirname', 'readlink', 'tr', 'env', 'mktemp', 'rm', 'cat', 'grep']
/** Modules that only tests use, and programs that tests compare with or run. */
const others = ['tpm2-pkcs11', 'p11-kit-client', 'nss-softokn']
const forTests = ['pki', 'curl', 'swtpm', 'socat', 'dbus-daemon', 'p11-kit', 'certutil']
const compilers = ['python3', 'make', 'g++', 'pkcs11-tool', 'openssl']

let root: string
let bin: string
let module: string
let engine: string

/** A copy of the project with a machine of its own: only what `bin` holds is installed there. */
beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'leafkeeper-setup-'))
  bin = join(root, 'bin')
  module = join(root, 'module.so')
  engine = join(root, 'pkcs11.so')
  mkdirSync(join(root, 'hsm-config'))
  mkdirSync(bin)
  copyFileSync(join(project, 'hsm-config/setup.sh'), join(root, 'hsm-config/setup.sh'))
  const profile = { module: [join(root, 'elsewhere.so'), module], engine: [engine] }
  writeFileSync(join(root, 'hsm-config/softhsm.json'), JSON.stringify(profile))
  for (const other of others) {
    const otherProfile = { module: [join(root, `${other}.so`)] }
    writeFileSync(join(root, `hsm-config/${other}.json`), JSON.stringify(otherProfile))
  }
  writeFileSync(join(root, 'package-lock.json'), '{}')
  utimesSync(join(root, 'package-lock.json'), 0, 0)
  for (const tool of tools) symlinkSync(found(tool), join(bin, tool))
  command('id', 'echo 0')
})

afterEach(() => {
  rmSync(root, { recursive: true, force: true })
})

function found(tool: string): string {
  const folders = (process.env['PATH'] ?? '').split(delimiter)
  const path = folders.map((folder) => join(folder, tool)).find((candidate) => existsSync(candidate))
  if (path === undefined) throw new Error(`${tool} is not on this machine`)
  return path
}

/** Puts a command on the machine that writes down how it was called and then does `body`. */
function command(name: string, body = ''): void {
  const path = join(bin, name)
  rmSync(path, { force: true })
  writeFileSync(path, `#!${found('bash')}\necho "${name} $*" >>"${root}/calls"\n${body}\n`)
  chmodSync(path, 0o755)
}

function installEverything(): void {
  for (const name of compilers) command(name)
  writeFileSync(module, '')
  writeFileSync(engine, '')
  symlinkSync(join(project, 'node_modules'), join(root, 'node_modules'))
}

function setup(...args: string[]): { status: number | null; output: string; error: string; calls: string[] } {
  rmSync(join(root, 'calls'), { force: true })
  const run = spawnSync(join(bin, 'bash'), [join(root, 'hsm-config/setup.sh'), ...args], {
    encoding: 'utf8',
    env: { PATH: bin, HOME: root },
  })
  const calls = existsSync(join(root, 'calls')) ? readFileSync(join(root, 'calls'), 'utf8') : ''
  return {
    status: run.status,
    output: run.stdout,
    error: run.stderr,
    calls: calls.split('\n').filter((line) => !/^(id|$)/.test(line)),
  }
}

describe('where everything is there', () => {
  test('nothing is installed, and it says what it found', () => {
    installEverything()
    command('apt-get')
    command('npm')
    const { status, output, calls } = setup()
    expect(output).toBe(`module ${module}\nengine ${engine}\nready\n`)
    expect(status).toBe(0)
    expect(calls).toEqual([])
  })

  test('--check says so', () => {
    installEverything()
    expect(setup('--check')).toMatchObject({ status: 0, output: 'ready\n' })
  })
})

describe('where packages are missing', () => {
  test('they are installed with apt, after one update and without questions', () => {
    installEverything()
    rmSync(module)
    rmSync(engine)
    command(
      'apt-get',
      `if [ "$1" = install ]; then echo "$DEBIAN_FRONTEND" >>"${root}/calls"; : >"${module}"; : >"${engine}"; fi`,
    )
    const { status, calls } = setup()
    expect(calls).toEqual([
      'apt-get update -qq',
      'apt-get install -y -qq --no-install-recommends softhsm2 libengine-pkcs11-openssl',
      'noninteractive',
    ])
    expect(status).toBe(0)
  })

  test('--check lists them and installs nothing', () => {
    command('apt-get')
    const { status, output, calls } = setup('--check')
    expect(output).toContain(
      'missing packages: softhsm2 libengine-pkcs11-openssl opensc openssl python3 make g++',
    )
    expect(output).toContain('npm ci')
    expect(status).toBe(1)
    expect(calls).toEqual([])
  })

  test('--test asks for what tests compare with as well', () => {
    installEverything()
    command('pki', 'exit 1')
    command(
      'apt-get',
      `if [ "$1" = install ]; then printf '#!%s\\n' "${found('bash')}" | tee "${bin}"/{${forTests.join(',')}} "${root}"/{${others.join(',')}}.so >/dev/null; chmod +x "${bin}"/{${forTests.join(',')}}; fi`,
    )
    for (const tool of ['tee', 'chmod']) symlinkSync(found(tool), join(bin, tool))
    expect(setup('--test').calls.filter((call) => !call.startsWith('pki'))).toEqual([
      'apt-get update -qq',
      'apt-get install -y -qq --no-install-recommends strongswan-pki libstrongswan-standard-plugins curl swtpm ' +
        'libtpm2-pkcs11-1 libtss2-tcti-swtpm0 libtss2-tcti-tabrmd0 tpm2-abrmd p11-kit-modules libnss3 ' +
        'dbus-daemon p11-kit libnss3-tools socat',
    ])
    expect(setup('--test')).toMatchObject({ status: 0, calls: [] })
  })

  test('without root or sudo it says which command to run', () => {
    installEverything()
    rmSync(engine)
    command('apt-get')
    command('id', 'echo 1000')
    const { status, error, calls } = setup()
    expect(error).toContain('sudo apt-get install --no-install-recommends libengine-pkcs11-openssl')
    expect(status).toBe(1)
    expect(calls).toEqual([])
  })

  test('sudo is used where it asks for no password', () => {
    installEverything()
    rmSync(module)
    command('id', 'echo 1000')
    command('sudo', 'shift; "$@"')
    command('apt-get', `[ "$1" = update ] || : >"${module}"`)
    command('true')
    const { status, calls } = setup()
    expect(calls).toContain('sudo -n apt-get update -qq')
    expect(calls).toContain('apt-get install -y -qq --no-install-recommends softhsm2')
    expect(status).toBe(0)
  })

  test('without apt it says what to install', () => {
    installEverything()
    rmSync(module)
    const { status, error } = setup()
    expect(error).toContain('softhsm2')
    expect(error).toContain('dnf install softhsm')
    expect(status).toBe(1)
  })

  test('a failed installation is not taken for a good one', () => {
    installEverything()
    rmSync(module)
    command('apt-get')
    const { status, error } = setup()
    expect(error).toContain('still not found: softhsm2')
    expect(status).toBe(1)
  })
})

describe('where npm packages are missing', () => {
  const arrive = (): string => `ln -s "${join(project, 'node_modules')}" "${root}/node_modules"`

  beforeEach(() => {
    installEverything()
    rmSync(join(root, 'node_modules'))
    symlinkSync(found('ln'), join(bin, 'ln'))
  })

  test('packages without those for development are not enough', () => {
    mkdirSync(join(root, 'node_modules'))
    writeFileSync(join(root, 'node_modules/.package-lock.json'), '{}')
    command('npm', `rm -rf "${root}/node_modules"\n${arrive()}`)
    const { calls } = setup()
    expect(calls[0]).toMatch(/^npm ci --include=dev /)
  })

  test('npm ci brings them', () => {
    command('npm', arrive())
    const { status, calls, output } = setup()
    expect(calls).toEqual(['npm ci --include=dev --no-audit --no-fund --loglevel=error'])
    expect(output).toMatch(/installing npm packages\nready\n$/)
    expect(status).toBe(0)
  })

  test('npm install brings them where the lock file is not complete', () => {
    command('npm', `if [ "$1" = ci ]; then echo "npm error code EUSAGE"; exit 1; fi\n${arrive()}`)
    const { status, calls } = setup()
    expect(calls.map((call) => call.split(' ')[1])).toEqual(['ci', 'install'])
    expect(calls[1]).toContain('--no-save')
    expect(status).toBe(0)
  })

  test('a failure of npm is shown', () => {
    command('npm', 'echo "npm error network"; exit 1')
    const { status, error } = setup()
    expect(error).toContain('npm error network')
    expect(error).toContain('npm ci failed')
    expect(status).toBe(1)
  })

  test('pkcs11js is built when npm left it unbuilt', () => {
    mkdirSync(join(root, 'node_modules/.bin'), { recursive: true })
    writeFileSync(join(root, 'node_modules/.bin/tsc'), '')
    writeFileSync(join(root, 'node_modules/.package-lock.json'), '{}')
    command('npm', `rm -rf "${root}/node_modules"\n${arrive()}`)
    const { status, calls } = setup()
    expect(calls).toEqual(['npm rebuild pkcs11js --foreground-scripts --loglevel=error'])
    expect(status).toBe(0)
  })
})

test('a Node that is too old is refused', () => {
  installEverything()
  command('node', 'echo 18.20.4')
  expect(setup()).toMatchObject({ status: 1, error: expect.stringContaining('Node.js 20') as string })
})
