import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { connect } from 'node:tls'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { readArguments, usage } from '../../sim/cli/arguments.ts'
import type { CloudDescription } from '../../sim/cli/description.ts'
import { runSimulator, type Surroundings } from '../../sim/cli/run.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'

const root = resolve(import.meta.dirname, '../..')

/** A command that runs in this process, and what it has written. */
function started(...args: string[]): {
  readonly exitCode: Promise<number>
  readonly ready: Promise<string>
  readonly errors: string[]
  readonly stop: () => void
} {
  const written = new PassThrough({ encoding: 'utf8' })
  const orders = new EventEmitter()
  const errors: string[] = []
  const surroundings: Surroundings = {
    stdout: written,
    stderr: { write: (text) => errors.push(text) },
    stopped: async () => once(orders, 'stop'),
  }
  const ready = once(written, 'data').then(([text]) => String(text))
  return { exitCode: runSimulator(args, surroundings), ready, errors, stop: () => orders.emit('stop') }
}

describe('a command line', () => {
  it('is read', () => {
    expect(readArguments(['--hubs', 'North, south', '--port=0', '--json', '--ca-file', 'ca.pem'])).toEqual({
      kind: 'run',
      options: { cloud: { hubs: ['north', 'south'], port: 0 }, json: true, caFile: 'ca.pem' },
    })
    expect(readArguments([])).toEqual({
      kind: 'run',
      options: { cloud: {}, json: false, caFile: undefined },
    })
  })

  it.each<[args: string[], message: RegExp]>([
    [['--hub', 'a'], /--hub/],
    [['extra'], /extra/],
    [['--hubs', 'a,,b'], /--hubs: expected names .* got ""/],
    [['--hubs', 'a,A'], /each name once/],
    [['--port', '65536'], /--port: expected a number from 0 to 65535, got "65536"/],
    [['--port', '-1'], /--port/],
    [['--port'], /--port/],
  ])('%j ends with 2 and the usage', async (args, message) => {
    const { exitCode, errors } = started(...args)
    expect(await exitCode).toBe(2)
    expect(errors.join('')).toMatch(message)
    expect(errors.join('')).toContain(usage)
  })

  it('asks for help, which fits 80 columns', async () => {
    const { exitCode, ready } = started('--help')
    expect(await exitCode).toBe(0)
    expect(await ready).toBe(usage)
    expect(usage.split('\n').filter((line) => line.length > 80)).toEqual([])
  })
})

describe('the command', () => {
  it('prints what is to be pasted on lines of its own', async () => {
    const { exitCode, ready, stop } = started('--hubs', 'north')
    const lines = (await ready).split('\n')
    expect(lines).toContainEqual(
      expect.stringMatching(/^HostName=leafkeeper\.azure-devices-provisioning\.net;.*SharedAccessKey=\S+$/),
    )
    expect(lines).toContainEqual(
      expect.stringMatching(/^HostName=north\.azure-devices\.net;.*SharedAccessKey=\S+$/),
    )
    expect(lines).toContainEqual(expect.stringMatching(/id scope +0ne\w+$/))
    stop()
    expect(await exitCode).toBe(0)
  })

  it('writes the authority where it is told, and leaves it there', async () => {
    const caFile = join(await temporaryFolder(), 'ca.pem')
    const { exitCode, ready, stop } = started('--json', '--ca-file', caFile)
    expect(JSON.parse(await ready)).toMatchObject({ caFile })
    stop()
    expect(await exitCode).toBe(0)
    expect(readFileSync(caFile, 'utf8')).toContain('BEGIN CERTIFICATE')
  })

  it('ends with 1 and names the address when the port is taken', async () => {
    const server = createServer().listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    const { exitCode, errors } = started('--port', String(port))
    expect(await exitCode).toBe(1)
    expect(errors.join('')).toContain(`Cannot listen on 127.0.0.1:${port}: Error: listen EADDRINUSE`)
    server.close()
  })
})

describe('the compiled command', () => {
  const children: ChildProcess[] = []

  beforeAll(() => {
    execFileSync(process.execPath, [join(root, 'node_modules/typescript/bin/tsc'), '-b', 'src', 'sim'], {
      cwd: root,
    })
  }, 120_000)

  afterEach(() => {
    for (const child of children.splice(0)) child.kill('SIGKILL')
  })

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'serves until %s, exits with 0, and leaves no file',
    async (signal) => {
      const child = spawn(process.execPath, [join(root, 'sim/bin/leafkeeper-sim.mjs'), '--json'], {
        stdio: ['ignore', 'pipe', 'inherit'],
      })
      children.push(child)
      const exited = once(child, 'exit')
      const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
      const { address, caFile, connectTo, hubs } = JSON.parse(line) as CloudDescription
      expect(hubs.map(({ name }) => name)).toEqual(['hub-a', 'hub-b'])
      expect(connectTo['*.azure-devices.net']).toBe(address)

      const socket = connect({
        host: '127.0.0.1',
        port: Number(address.split(':')[1]),
        servername: 'hub-a.azure-devices.net',
        ca: readFileSync(caFile),
      })
      socket.on('error', () => undefined)
      await once(socket, 'secureConnect')
      expect(socket.authorized).toBe(true)
      child.kill(signal)
      expect(await exited).toEqual([0, null])
      expect(existsSync(dirname(caFile))).toBe(false)
      socket.destroy()
    },
  )
})
