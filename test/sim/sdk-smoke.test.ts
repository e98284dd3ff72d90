import type { ChildProcess } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { TestAuthority, type SimulatedCloud } from 'leafkeeper-sim'
import ts from 'typescript'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { mayHaveOwnNames, startOwnNames, type OwnNames } from '../support/own-names.ts'
import { createDevice, type Device } from './devices.ts'
import type { Errands, Proof, Subscription } from './sdk-smoke-program.ts'

interface Answer {
  readonly number: number
  readonly result?: unknown
  readonly error?: string
}

let names: OwnNames
let cloud: SimulatedCloud
let root: TestAuthority
let program: ChildProcess
let ended: Promise<unknown>
let asked = 0

/** Has the program do something. @throws Error with what went wrong there */
async function run<Name extends keyof Errands>(
  errand: Name,
  order: Parameters<Errands[Name]>[1],
): Promise<unknown> {
  asked += 1
  const number = asked
  const answered = new Promise<unknown>((resolve, reject) => {
    const heard = (answer: Answer): void => {
      if (answer.number !== number) return
      program.off('message', heard)
      if (answer.error === undefined) resolve(answer.result)
      else reject(new Error(answer.error))
    }
    program.on('message', heard)
    void ended.then(() => reject(new Error('The program has ended.')))
  })
  // When it has ended, that is what `answered` says.
  program.send({ number, errand, order }, () => undefined)
  return answered
}

function x509({ chain, key }: Device): Extract<Proof, { cert: string }> {
  return { cert: chain, key }
}

beforeAll(async () => {
  if (!mayHaveOwnNames) return
  names = await startOwnNames({ hubs: ['smoke'] })
  cloud = names.cloud
  root = await TestAuthority.createRoot({ commonName: 'smoke root' })
  cloud.dps.groups.put({ enrollmentGroupId: 'by-certificate', attestation: { primary: root.certificate } })
  const { connectionString: hub } = cloud.hub('smoke')
  const subscription: Subscription = { idScope: cloud.idScope, dps: cloud.dps.connectionString, hub }
  const source = readFileSync(join(import.meta.dirname, 'sdk-smoke-program.ts'), 'utf8')
  const { outputText } = ts.transpileModule(source, {
    compilerOptions: {
      module: ts.ModuleKind.CommonJS,
      target: ts.ScriptTarget.ES2022,
      esModuleInterop: true,
    },
  })
  program = names.run(outputText, {
    type: 'commonjs',
    env: { SUBSCRIPTION: JSON.stringify(subscription) },
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  })
  ended = once(program, 'exit')
})

afterAll(async () => {
  if (!mayHaveOwnNames) return
  program.kill()
  await ended
  await names.close()
})

describe.skipIf(!mayHaveOwnNames)('the official SDKs, unchanged, under the host names of Azure', () => {
  it.each(['Mqtt', 'MqttWs', 'Http'] as const)(
    'register a device by its certificate over %s',
    async (transport) => {
      const device = await createDevice(root, `certificate-${transport.toLowerCase()}`)
      const registered = run('register', { transport, registrationId: device.id, proof: x509(device) })
      expect(await registered).toMatchObject({
        status: 'assigned',
        assignedHub: 'smoke.azure-devices.net',
        deviceId: device.id,
      })
      expect(cloud.hub('smoke').registry.get(device.id)?.authentication.x509Thumbprint).toMatchObject({
        primaryThumbprint: device.thumbprint,
      })
    },
  )

  it.each(['Mqtt', 'MqttWs', 'Http'] as const)('register a device by its key over %s', async (transport) => {
    const registrationId = `key-${transport.toLowerCase()}`
    const symmetricKey = randomBytes(32).toString('base64')
    cloud.dps.enrollments.put({
      registrationId,
      attestation: { type: 'symmetricKey', primaryKey: symmetricKey },
    })
    expect(await run('register', { transport, registrationId, proof: { symmetricKey } })).toMatchObject({
      status: 'assigned',
      deviceId: registrationId,
    })
  })

  it.each<[transport: 'Mqtt' | 'MqttWs', by: 'key' | 'certificate']>([
    ['Mqtt', 'key'],
    ['Mqtt', 'certificate'],
    ['MqttWs', 'key'],
    ['MqttWs', 'certificate'],
  ])('carry telemetry, twins and methods over %s by %s', async (transport, by) => {
    const hub = cloud.hub('smoke')
    const device = await createDevice(root, `live-${transport.toLowerCase()}-${by}`)
    const x509Thumbprint = { primaryThumbprint: device.thumbprint }
    hub.registry.create({
      deviceId: device.id,
      authentication: by === 'key' ? { type: 'sas' } : { type: 'selfSigned', x509Thumbprint },
    })
    const arrived = cloud.waitFor('telemetry', ({ deviceId }) => deviceId === device.id)
    const lived = await run('live', {
      transport,
      connectionString: hub.deviceConnectionString(device.id),
      ...(by === 'key' ? {} : { x509: x509(device) }),
    })
    expect(lived).toEqual({ desired: 5, reported: 5, method: { status: 200, payload: { sum: 5 } } })
    const { body, properties } = await arrived
    expect(JSON.parse(body.toString())).toEqual({ celsius: 21 })
    expect(properties).toEqual({ over: transport })
  })

  it('keep individual enrollments', async () => {
    expect(await run('individualEnrollment', { registrationId: 'kept-1' })).toEqual({
      mechanism: {
        type: 'symmetricKey',
        symmetricKey: {
          primaryKey: expect.stringMatching(/=$/) as string,
          secondaryKey: expect.stringMatching(/=$/) as string,
        },
      },
      status: 'disabled',
      stale: expect.stringMatching(/^InvalidEtagError/) as string,
      listed: expect.arrayContaining(['kept-1']) as string[],
      afterwards: 'Error: Not found',
    })
  })

  it('keep enrollment groups, and what DPS remembers of their devices', async () => {
    const other = await TestAuthority.createRoot({ commonName: 'another smoke root' })
    cloud.dps.certificates.put('another', other.certificate, true)
    const group = { enrollmentGroupId: 'kept', certificate: other.certificate }
    expect(await run('enrollmentGroup', group)).toEqual({ enrollmentGroupId: 'kept', status: 'enabled' })
    const device = await createDevice(other, 'remembered-1')
    await run('register', { transport: 'Mqtt', registrationId: device.id, proof: x509(device) })
    expect(await run('registrationState', { registrationId: device.id })).toEqual({
      status: 'assigned',
      afterwards: 'Error: Not found',
    })
  })

  it('keep the registry of a hub', async () => {
    const total = cloud.hub('smoke').registry.size
    expect(await run('registry', { deviceId: 'registry-1' })).toEqual({
      kind: 'sas',
      again: expect.stringMatching(/^DeviceAlreadyExistsError/) as string,
      status: 'disabled',
      counted: { totalDeviceCount: total + 2, enabledDeviceCount: total + 1, disabledDeviceCount: 1 },
      found: ['registry-1'],
      afterwards: expect.stringMatching(/^DeviceNotFoundError/) as string,
    })
  })

  it('run jobs', async () => {
    expect(await run('job', { jobId: 'job-1', deviceId: 'job-1' })).toEqual({
      status: 'completed',
      tags: { site: 'north' },
    })
  })
})
