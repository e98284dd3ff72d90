import { beforeAll, describe, expect, test } from 'vitest'
import { dpsOverMqtt, type DpsOptions } from '../../src/provisioning/dps-over-mqtt.ts'
import type { ProvisioningService } from '../../src/provisioning/provisioning-service.ts'
import type { DeviceCredential } from '../../src/transport/credential.ts'
import { credentialOf, makeAuthority, type Authority } from '../transport/support/authority.ts'
import { watchUncaught } from '../transport/support/uncaught.ts'
import { assigned, assigning, scriptedDps, type Question, type ScriptedDps } from './support/scripted-dps.ts'

let authority: Authority
let credential: DeviceCredential
const never = new AbortController().signal

beforeAll(async () => {
  authority = await makeAuthority()
  credential = credentialOf('gateway-1', await authority.client('gateway-1'))
})

function service(dps: ScriptedDps, options: Partial<DpsOptions> = {}): ProvisioningService {
  return dpsOverMqtt({
    provisioningHost: 'dps.example.net',
    idScope: '0ne00000A0A',
    trustedAuthorities: authority.certificate,
    connectTo: { '*.example.net': `127.0.0.1:${dps.port}` },
    ...options,
  })
}

/** Registers against a script, and checks that the process survived what the official client would not. */
async function outcome(
  script: (question: Question, count: number) => void,
  options: Partial<DpsOptions> = {},
): Promise<unknown> {
  using uncaught = watchUncaught()
  await using dps = await scriptedDps(authority, script)
  let answers = 0
  const result = await service(dps, options)
    .register(credential, never)
    .finally(() => {
      answers += 1
    })
    .catch((error: unknown) => error)
  expect(await uncaught.afterwards()).toEqual([])
  expect(answers).toBe(1)
  return result
}

const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })

describe('the process survives', () => {
  test('a server that closes in the middle of a request (TypeError: callback is not a function)', async () => {
    expect(await outcome(({ session }) => session.socket.end())).toEqual(
      withCode('NETWORK_UNREACHABLE', { reason: 'closed' }),
    )
  })

  test('a server that resets in the middle of a request', async () => {
    expect(await outcome(({ session }) => session.socket.destroy())).toEqual(withCode('NETWORK_UNREACHABLE'))
  })

  test("a server that closes between two polls (uncaught 'error' event)", async () => {
    const closing = ({ answer, session }: Question): void => {
      answer(202, assigning, 3600)
      session.socket.end()
    }
    expect(await outcome(closing)).toEqual(withCode('NETWORK_UNREACHABLE', { reason: 'closed' }))
  })

  test('a server that closes in the middle of a poll', async () => {
    const closing = ({ kind, answer, session }: Question): void => {
      if (kind === 'register') answer(202, assigning, 0)
      else session.socket.end()
    }
    expect(await outcome(closing)).toEqual(withCode('NETWORK_UNREACHABLE'))
  })

  test.each([
    ['no body', ''],
    ['a body that is not JSON', '<html>'],
    ['half a body', '{"status":"assig'],
    ['a body that is not an object', '"assigned"'],
    ['a list', '[]'],
    ['null', 'null'],
    ['no status', {}],
    ['a status that is not text', { status: 7 }],
    ['a status it does not know', { status: 'unassigned' }],
    ['an operation without an id', { status: 'assigning' }],
    ['an assignment without a hub', { status: 'assigned', registrationState: { deviceId: 'gateway-1' } }],
    ['an assignment to nothing', { status: 'assigned' }],
  ])('%s (uncaught SyntaxError or TypeError)', async (_what, body) => {
    expect(await outcome(({ answer }) => answer(200, body))).toEqual(withCode('PROTOCOL_ERROR'))
  })

  test('a status that is not a number', async () => {
    expect(await outcome(({ answer }) => answer('yes', assigned))).toEqual(withCode('PROTOCOL_ERROR'))
  })

  test('bytes that are not MQTT', async () => {
    const garbage = ({ session }: Question): void => session.send(Buffer.from([0xf0, 0x00, 0x36, 0xff, 0xff]))
    expect(await outcome(garbage)).toEqual(withCode('PROTOCOL_ERROR'))
  })
})

describe('what the official client would wait for is told at once', () => {
  test('429', async () => {
    const body = { errorCode: 429001, message: 'Slow down.', trackingId: 'x' }
    expect(await outcome(({ answer }) => answer(429, body, 17))).toEqual(
      withCode('DPS_THROTTLED', { retryAfterMs: 17_000, retryable: true, reason: '429001' }),
    )
  })

  test('500 without a body', async () => {
    expect(await outcome(({ answer }) => answer(500, '', 5))).toEqual(
      withCode('DPS_UNAVAILABLE', { retryAfterMs: 5_000, retryable: true, reason: '500' }),
    )
  })

  test('503 in the middle of polling', async () => {
    const later = ({ kind, answer }: Question): void => {
      if (kind === 'register') answer(202, assigning, 0)
      else answer(503, { errorCode: 503001, message: 'Busy' })
    }
    expect(await outcome(later)).toEqual(withCode('DPS_UNAVAILABLE', { retryAfterMs: undefined }))
  })
})

describe('every wait has an end', () => {
  test('a registration that is not answered', async () => {
    expect(await outcome(() => undefined, { answerTimeoutMs: 50 })).toEqual(withCode('NETWORK_TIMEOUT'))
  })

  test('a poll that is not answered', async () => {
    const once = ({ kind, answer }: Question): void => {
      if (kind === 'register') answer(202, assigning, 0)
    }
    expect(await outcome(once, { answerTimeoutMs: 50 })).toEqual(withCode('NETWORK_TIMEOUT'))
  })

  test('an assignment that never comes', async () => {
    const more = ({ answer }: Question): void => answer(202, assigning, 0)
    expect(await outcome(more, { registrationTimeoutMs: 100 })).toEqual(withCode('NETWORK_TIMEOUT'))
  })

  test('a pause that is longer than the whole registration may take', async () => {
    const pause = ({ answer }: Question): void => answer(202, assigning, '99999999999')
    expect(await outcome(pause, { registrationTimeoutMs: 100 })).toEqual(withCode('NETWORK_TIMEOUT'))
  })
})

describe('one registration has one answer', () => {
  test('the first, where DPS sends two', async () => {
    const twice = ({ answer }: Question): void => {
      answer(401, { errorCode: 401002, message: 'Unauthorized' })
      answer(200, assigned)
      answer(500, '')
    }
    expect(await outcome(twice)).toEqual(withCode('DPS_UNAUTHORIZED'))
  })

  test('the first, where DPS assigns and then refuses', async () => {
    const twice = ({ answer, session }: Question): void => {
      answer(200, assigned)
      answer(401, { errorCode: 401002, message: 'Unauthorized' })
      session.socket.end()
    }
    expect(await outcome(twice)).toMatchObject({ assignedHub: 'hub-a.azure-devices.net' })
  })

  test('its own, where an answer belongs to another question', async () => {
    const strays = ({ answer, session }: Question): void => {
      session.publish('$dps/registrations/res/401/?$rid=another', '{}')
      session.publish('$dps/registrations/res/401/', '')
      session.publish('$dps/registrations/res', '')
      session.publish('devices/gateway-1/messages/devicebound/', 'x')
      answer(200, assigned)
    }
    expect(await outcome(strays)).toMatchObject({ deviceId: 'gateway-1' })
  })
})
