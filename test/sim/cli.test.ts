import { execFileSync, spawn, type ChildProcess } from 'node:child_process'
import { EventEmitter, once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { dirname, join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { PassThrough } from 'node:stream'
import { connect } from 'node:tls'
import { ConnectionString, SharedAccessSignature } from 'azure-iot-common'
import { afterEach, beforeAll, describe, expect, it } from 'vitest'
import { readArguments, usage } from '../../sim/cli/arguments.ts'
import type { CloudDescription } from '../../sim/cli/description.ts'
import { runSimulator, type Surroundings } from '../../sim/cli/run.ts'
import { ask as askPortal } from './portal-visitor.ts'
import { rawHttp, type RawAnswer } from './raw-http.ts'
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

/** A token of the service SDK for a hub's connection string. */
function hubToken(connectionString: string): string {
  const parts = ConnectionString.parse(connectionString)
  const { HostName = '', SharedAccessKeyName = '', SharedAccessKey = '' } = parts
  const expiry = Math.floor(Date.now() / 1000) + 3600
  return SharedAccessSignature.create(HostName, SharedAccessKeyName, SharedAccessKey, expiry).toString()
}

describe('a command line', () => {
  it('is read', () => {
    const args = ['--hubs', 'North, south', '--port=0', '--json', '--ca-file', 'ca.pem', '--data', 'state']
    expect(readArguments([...args, '--fault', 'dps-latency=50', '--seed=3', '--portal'])).toEqual({
      kind: 'run',
      options: {
        cloud: { hubs: ['north', 'south'], port: 0, data: 'state', seed: 3 },
        faults: [{ name: 'dps-latency', settings: { ms: 50 } }],
        portal: true,
        json: true,
        caFile: 'ca.pem',
      },
    })
    expect(readArguments(['--own-address', '127.0.0.2'])).toMatchObject({
      options: { cloud: { ownAddress: '127.0.0.2' } },
    })
    expect(readArguments([])).toEqual({
      kind: 'run',
      options: { cloud: {}, faults: [], portal: false, json: false, caFile: undefined },
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
    [['--seed', 'x'], /--seed: expected a number/],
    [['--own-address', '10.0.0.1'], /"10\.0\.0\.1" is no loopback address/],
    [['--own-address', '127.0.0.2', '--port', '1'], /leave the port out/],
    [['--fault', 'nonsense'], /There is no fault "nonsense": expected one of dps-latency/],
    [['--fault', 'hub-latency=soon'], /hub-latency: expected `ms`/],
    [['--fault', 'issuance-stuck=1'], /takes no value/],
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

  async function running(
    ...args: string[]
  ): Promise<{ readonly child: ChildProcess; readonly description: CloudDescription }> {
    const child = spawn(process.execPath, [join(root, 'sim/bin/leafkeeper-sim.mjs'), '--json', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    children.push(child)
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string]
    return { child, description: JSON.parse(line) as CloudDescription }
  }

  it.each(['SIGINT', 'SIGTERM'] as const)(
    'serves until %s, exits with 0, and leaves no file',
    async (signal) => {
      const { child, description } = await running()
      const { address, caFile, connectTo, hubs } = description
      const exited = once(child, 'exit')
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

  it('opens the portal when it is told to, with the script that the build has made, and closes it at its end', async () => {
    const { child, description } = await running('--portal')
    const exited = once(child, 'exit')
    const { portal = '' } = description
    const entered = await askPortal(portal)
    const [cookie = ''] = entered.headers['set-cookie'] ?? []
    const { origin } = new URL(portal)
    const { status, text } = await askPortal(`${origin}/live.js`, { headers: { cookie } })
    expect(status).toBe(200)
    expect(text).toContain('new EventSource(')
    child.kill('SIGTERM')
    expect(await exited).toEqual([0, null])
    await expect(askPortal(origin)).rejects.toMatchObject({ code: 'ECONNREFUSED' })
  })

  it('keeps what it has acknowledged, although it is killed in the middle of writes', async () => {
    const data = await temporaryFolder()
    const acknowledged: string[] = []
    for (let life = 0; life < 4; life += 1) {
      const { child, description } = await running('--data', data)
      const [hub] = description.hubs
      if (hub === undefined) throw new Error('no hub')
      const exited = once(child, 'exit')
      const cloud = {
        port: Number(description.address.split(':')[1]),
        trustedAuthorities: readFileSync(description.caFile, 'utf8'),
      }
      const headers = { authorization: hubToken(hub.connectionString) }
      const ask = async (path: string, method: string, body?: object): Promise<RawAnswer> =>
        rawHttp(cloud, { host: hub.hostName, path: `${path}?api-version=2021-04-12`, method, headers, body })
      const { text } = await ask('/devices', 'GET')
      const found = (JSON.parse(text) as { deviceId: string }[]).map(({ deviceId }) => deviceId)
      expect(found).toEqual(expect.arrayContaining(acknowledged))

      let count = 0
      const worker = async (name: string): Promise<void> => {
        for (let n = 0; ; n += 1) {
          const deviceId = `life-${life}-${name}-${n}`
          const answer = await ask(`/devices/${deviceId}`, 'PUT', {
            deviceId,
            authentication: { type: 'sas' },
          }).catch(() => undefined)
          if (answer === undefined) return
          expect(answer.status).toBe(200)
          acknowledged.push(deviceId)
          count += 1
          // The other workers are in the middle of something.
          if (count === 10 + life * 3) child.kill('SIGKILL')
        }
      }
      await Promise.all(['a', 'b', 'c'].map(worker))
      expect(await exited).toEqual([null, 'SIGKILL'])
      expect(count).toBeGreaterThan(0)
    }
  })
})
