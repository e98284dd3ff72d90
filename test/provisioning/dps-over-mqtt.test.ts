import { setImmediate as turn } from 'node:timers/promises'
import { beforeAll, describe, expect, test } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import { dpsOverMqtt, type DpsOptions } from '../../src/provisioning/dps-over-mqtt.ts'
import type { ProvisioningService } from '../../src/provisioning/provisioning-service.ts'
import type { DeviceCredential } from '../../src/transport/credential.ts'
import { credentialOf, makeAuthority, type Authority } from '../transport/support/authority.ts'
import { connack, suback } from '../transport/support/mqtt-wire.ts'
import { scriptedServer, type Script } from '../transport/support/scripted-server.ts'
import { assigned, assigning, scriptedDps, type Question } from './support/scripted-dps.ts'

let authority: Authority
let credential: DeviceCredential
const never = new AbortController().signal

beforeAll(async () => {
  authority = await makeAuthority()
  credential = credentialOf('gateway-1', await authority.client('gateway-1'))
})

function service(port: number, options: Partial<DpsOptions> = {}): ProvisioningService {
  return dpsOverMqtt({
    provisioningHost: 'dps.example.net',
    idScope: '0ne00000A0A',
    trustedAuthorities: authority.certificate,
    connectTo: { '*.example.net': `127.0.0.1:${port}` },
    ...options,
  })
}

const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })

describe('a registration', () => {
  test('is assigned at once', async () => {
    await using dps = await scriptedDps(authority, ({ answer }) => answer(200, assigned))
    expect(await service(dps.port).register(credential, never)).toEqual({
      assignedHub: 'hub-a.azure-devices.net',
      deviceId: 'gateway-1',
      substatus: 'initialAssignment',
      payload: undefined,
    })
    expect(dps.sessions[0]?.packets[0]).toEqual({
      cmd: 'connect',
      clientId: 'gateway-1',
      username: expect.stringMatching(
        /^0ne00000A0A\/registrations\/gateway-1\/api-version=2019-03-31&ClientVersion=/,
      ) as string,
      clean: true,
    })
    expect(dps.questions[0]).toMatchObject({ kind: 'register', body: '{"registrationId":"gateway-1"}' })
  })

  test('is asked about until it is assigned, with the operation id', async () => {
    const script = ({ answer }: Question, count: number): void => {
      if (count === 1) answer(202, assigning, 0)
      else if (count < 4) answer(202, { ...assigning, registrationState: { status: 'assigning' } }, 0)
      else answer(200, assigned)
    }
    await using dps = await scriptedDps(authority, script)
    expect(await service(dps.port).register(credential, never)).toMatchObject({ deviceId: 'gateway-1' })
    expect(dps.questions.map(({ kind }) => kind)).toEqual(['register', 'poll', 'poll', 'poll'])
    expect(dps.questions[1]?.topic).toContain(`operationId=${assigning.operationId}`)
  })

  test('is sent again where DPS says registering, and pauses as configured where DPS names no time', async () => {
    const script = ({ answer }: Question, count: number): void =>
      count < 3 ? answer(202, { status: 'registering' }) : answer(200, assigned)
    await using dps = await scriptedDps(authority, script)
    await service(dps.port, { pollingIntervalMs: 1 }).register(credential, never)
    expect(dps.questions.map(({ kind }) => kind)).toEqual(['register', 'register', 'register'])
  })

  test('keeps what a custom allocation returns, in any script', async () => {
    const payload = { place: 'Zürich', größe: '2 €', sign: '😀' }
    const registrationState = { ...assigned.registrationState, payload }
    await using dps = await scriptedDps(authority, ({ answer }) =>
      answer(200, { ...assigned, registrationState }),
    )
    expect(await service(dps.port).register(credential, never)).toMatchObject({ payload })
  })

  test('says goodbye and closes its connection', async () => {
    await using dps = await scriptedDps(authority, ({ answer }) => answer(200, assigned))
    const session = dps.nextSession()
    await service(dps.port).register(credential, never)
    const { closed, packets } = await session
    await closed
    expect(packets.at(-1)).toEqual({ cmd: 'disconnect' })
  })

  test('has a connection of its own, also beside another one', async () => {
    await using dps = await scriptedDps(authority, ({ answer }) => answer(200, assigned))
    const one = service(dps.port)
    await Promise.all([one.register(credential, never), one.register(credential, never)])
    await one.register(credential, never)
    expect(dps.sessions).toHaveLength(3)
  })
})

describe('DPS refuses', () => {
  async function failure(status: number, body: object): Promise<unknown> {
    await using dps = await scriptedDps(authority, ({ answer }) => answer(status, body))
    return await service(dps.port)
      .register(credential, never)
      .catch((error: unknown) => error)
  }

  test.each([
    [401, 401002, 'CA certificate not found.', 'DPS_UNAUTHORIZED', false],
    [404, 404201, 'Enrollment not found', 'DPS_NOT_FOUND', false],
    [400, 400004, 'Bad request', 'DPS_REFUSED', false],
    [405, undefined, 'Not allowed', 'DPS_REFUSED', false],
    [409, 409001, 'Conflict', 'DPS_REFUSED', true],
    [412, 412001, 'Precondition failed', 'DPS_REFUSED', true],
  ])('with %i and error code %s', async (status, errorCode, message, code, retryable) => {
    const reason = String(errorCode ?? status)
    const error = await failure(status, { errorCode, message, trackingId: 'abc' })
    expect(error).toEqual(withCode(code, { reason, retryable }))
    expect(String(error)).toContain(`tracking id abc: "${message}"`)
  })

  test.each([
    [400207, 'Custom allocation failed', 'DPS_REGISTRATION_FAILED', false],
    [401002, 'IotHubUnauthorizedAccess', 'DPS_REGISTRATION_FAILED', false],
    [429001, 'Throttled by the hub', 'DPS_REGISTRATION_FAILED', true],
    [500001, 'The hub failed', 'DPS_REGISTRATION_FAILED', true],
    [401002, 'Invalid certificate.', 'DPS_UNAUTHORIZED', false],
  ])('with the status failed, error code %i: %s', async (errorCode, errorMessage, code, retryable) => {
    const error = await failure(200, {
      status: 'failed',
      registrationState: { status: 'failed', errorCode, errorMessage },
    })
    expect(error).toEqual(withCode(code, { reason: String(errorCode), retryable }))
    expect(String(error)).toContain(errorMessage)
  })

  test('with the status disabled', async () => {
    expect(await failure(200, { status: 'disabled' })).toEqual(withCode('DPS_DISABLED', { retryable: false }))
  })
})

describe('the connection', () => {
  async function failure(script: Script, options: Partial<DpsOptions> = {}): Promise<unknown> {
    const { key, certificate } = await authority.server(['dps.example.net'])
    await using server = await scriptedServer({ key, cert: certificate }, script)
    return await service(server.port, options)
      .register(credential, never)
      .catch((error: unknown) => error)
  }

  test.each([
    [1, 'DPS_REFUSED'],
    [2, 'DPS_REFUSED'],
    [3, 'DPS_UNAVAILABLE'],
    [4, 'DPS_UNAUTHORIZED'],
    [5, 'DPS_UNAUTHORIZED'],
  ])('refused with CONNACK %i is %s', async (returnCode, code) => {
    const script: Script = (packet, session) => {
      if (packet.cmd !== 'connect') return false
      session.send(connack(returnCode))
      session.socket.end()
      return true
    }
    expect(await failure(script)).toEqual(withCode(code, { reason: `CONNACK ${returnCode}` }))
  })

  test('closed before CONNACK is not unauthorized', async () => {
    const script: Script = (_packet, session) => {
      session.socket.end()
      return true
    }
    expect(await failure(script)).toEqual(withCode('NETWORK_UNREACHABLE'))
  })

  test.each(['connect', 'subscribe'])('where %s is not answered has an end', async (cmd) => {
    expect(await failure((packet) => packet.cmd === cmd, { answerTimeoutMs: 50 })).toEqual(
      withCode('NETWORK_TIMEOUT'),
    )
  })

  test('on which the subscription is refused', async () => {
    const script: Script = (packet, session) => {
      if (packet.cmd !== 'subscribe') return false
      session.send(suback(packet.id, 0x80))
      return true
    }
    expect(await failure(script)).toEqual(withCode('DPS_REFUSED', { reason: 'SUBACK 128' }))
  })

  test('to a DPS that is not there', async () => {
    const gone = await scriptedDps(authority, () => undefined)
    await gone[Symbol.asyncDispose]()
    await expect(service(gone.port).register(credential, never)).rejects.toEqual(
      withCode('NETWORK_UNREACHABLE', { reason: 'ECONNREFUSED' }),
    )
  })

  test('is let go at once when the caller gives up', async () => {
    const abort = new AbortController()
    const reason = new LeafkeeperError('AGENT_STOPPED')
    await using dps = await scriptedDps(authority, ({ answer }) => {
      answer(202, assigning, 3600)
      setImmediate(() => abort.abort(reason))
    })
    const session = dps.nextSession()
    await expect(service(dps.port).register(credential, abort.signal)).rejects.toBe(reason)
    await (
      await session
    ).closed
    await expect(service(dps.port).register(credential, abort.signal)).rejects.toBe(reason)
  })

  test('leaves no timer behind, however the registration ends', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timers()
    const abort = new AbortController()
    const scripts: ((question: Question) => void)[] = [
      ({ answer }) => answer(200, assigned),
      ({ answer }) => answer(401, { errorCode: 401002 }),
      ({ answer, session }) => {
        answer(202, assigning, 3600)
        session.socket.end()
      },
      ({ answer }) => {
        answer(202, assigning, 3600)
        setImmediate(() => abort.abort())
      },
    ]
    for (const script of scripts) {
      await using dps = await scriptedDps(authority, script)
      const session = dps.nextSession()
      await service(dps.port)
        .register(credential, abort.signal)
        .catch(() => undefined)
      await (
        await session
      ).closed
      await turn()
      await turn()
      expect(timers()).toBeLessThanOrEqual(before)
    }
  })

  test('to something that is no host is refused by the configuration', () => {
    expect(() => service(1, { provisioningHost: 'https://dps.example.net' })).toThrow(
      withCode('AGENT_CONFIG_INVALID'),
    )
  })
})
