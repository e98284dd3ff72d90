import { beforeAll, describe, expect, test } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import type { HubOptions } from '../../src/hub/hub-over-mqtt.ts'
import { makeAuthority } from '../transport/support/authority.ts'
import { connack, suback } from '../transport/support/mqtt-wire.ts'
import { hasOpenssl, opensslServer } from '../transport/support/openssl-server.ts'
import type { Script } from '../transport/support/scripted-server.ts'
import { watchUncaught } from '../transport/support/uncaught.ts'
import { HubBench, nothing, target } from './support/scripted-hub.ts'

let bench: HubBench
const never = new AbortController().signal

beforeAll(async () => {
  bench = await HubBench.make()
})

const withCode = (code: string, rest: object = {}): unknown => expect.objectContaining({ code, ...rest })

/** Connects to a hub with a script, and gives back the error. */
async function failure(script: Script, options: HubOptions = {}): Promise<unknown> {
  using uncaught = watchUncaught()
  await using hub = await bench.hub(script)
  const prepared = await bench.prepare(hub.port, options)
  const outcome: unknown = await prepared.connect(nothing, never).catch((error: unknown) => error)
  expect(await uncaught.afterwards()).toEqual([])
  return outcome
}

describe('connecting', () => {
  test('says what the official client says', async () => {
    await using hub = await bench.hub()
    const { session, connection } = await bench.connect(hub, nothing, { productInfo: 'leafkeeper/1' })
    expect(session.packets).toEqual([
      {
        cmd: 'connect',
        clientId: 'gateway-1',
        username: expect.stringMatching(
          /^hub-a\.example\.net\/gateway-1\/\?api-version=2021-04-12&DeviceClientType=azure-iot-device.*leafkeeper%2F1$/,
        ) as string,
        clean: false,
      },
      { cmd: 'subscribe', id: expect.any(Number) as number, topic: '$iothub/methods/POST/#' },
    ])
    await connection.close()
    expect(await connection.ended).toBeUndefined()
    await session.closed
    expect(session.packets.at(-1)).toEqual({ cmd: 'disconnect' })
  })

  test('says nothing in MQTT before it is asked to', async () => {
    await using hub = await bench.hub()
    const session = hub.nextSession()
    const prepared = await bench.prepare(hub.port)
    const { packets, closed } = await session
    prepared.discard()
    await closed
    expect(packets).toEqual([])
  })

  test('needs no answer but CONNACK where the hub kept the session', async () => {
    const mute: Script = (packet, session) => {
      if (packet.cmd === 'connect') session.send(connack(0, true))
      return packet.cmd === 'connect' || packet.cmd === 'subscribe'
    }
    await using hub = await bench.hub(mute)
    const { connection } = await bench.connect(hub, nothing, { answerTimeoutMs: 100 })
    // But the subscription has to be answered all the same.
    expect(await connection.ended).toEqual(
      withCode('HUB_CONNECTION_LOST', { cause: withCode('NETWORK_TIMEOUT') }),
    )
  })

  test.each([
    [1, 'HUB_REFUSED', false],
    [2, 'HUB_REFUSED', false],
    [3, 'HUB_UNAVAILABLE', true],
    [4, 'HUB_UNAUTHORIZED', false],
    [5, 'HUB_UNAUTHORIZED', false],
  ])('refused with CONNACK %i is %s', async (returnCode, code, retryable) => {
    const refuse: Script = (_packet, session) => {
      session.send(connack(returnCode))
      session.socket.end()
      return true
    }
    expect(await failure(refuse)).toEqual(withCode(code, { reason: `CONNACK ${returnCode}`, retryable }))
  })

  test('refused and reset at once is refused', async () => {
    const refuse: Script = (_packet, session) => {
      session.socket.write(connack(5), () => session.socket.destroy())
      return true
    }
    expect(await failure(refuse)).toEqual(withCode('HUB_UNAUTHORIZED'))
  })

  test('to a hub that refuses the subscription', async () => {
    const refuse: Script = (packet, session) => {
      if (packet.cmd !== 'subscribe') return false
      session.send(suback(packet.id, 0x80))
      return true
    }
    expect(await failure(refuse)).toEqual(withCode('HUB_REFUSED', { reason: 'SUBACK 128' }))
  })

  test.skipIf(!hasOpenssl).each(['-tls1_2', '-tls1_3'] as const)(
    'with a certificate that the hub refuses by a TLS alert (%s)',
    async (version) => {
      const server = await bench.authority.server(['hub-a.example.net'])
      const clients = await makeAuthority('Clients')
      await using hub = await opensslServer(server, clients.certificate, version)
      const connected = bench.prepare(hub.port).then((prepared) => prepared.connect(nothing, never))
      await expect(connected).rejects.toEqual(withCode('HUB_UNAUTHORIZED', { reason: 'unknown_ca' }))
    },
  )

  test('given up by the caller', async () => {
    const abort = new AbortController()
    const reason = new LeafkeeperError('AGENT_STOPPED')
    await using hub = await bench.hub(() => {
      abort.abort(reason)
      return true
    })
    const session = hub.nextSession()
    const prepared = await bench.transport(hub.port).prepare(target, bench.credential, abort.signal)
    await expect(prepared.connect(nothing, abort.signal)).rejects.toBe(reason)
    await (
      await session
    ).closed
  })
})

describe('a network blip never passes for a refusal', () => {
  test.each<[string, string, Script]>([
    ['a hub that closes before CONNACK', 'NETWORK_UNREACHABLE', (_packet, { socket }) => !!socket.end()],
    ['a hub that resets before CONNACK', 'NETWORK_UNREACHABLE', (_packet, { socket }) => !!socket.destroy()],
    ['a hub that is silent', 'NETWORK_TIMEOUT', () => true],
    ['a hub that is silent after CONNACK', 'NETWORK_TIMEOUT', ({ cmd }) => cmd === 'subscribe'],
    [
      'a hub that closes after CONNACK',
      'NETWORK_UNREACHABLE',
      ({ cmd }, { socket }) => cmd === 'subscribe' && !!socket.end(),
    ],
    [
      'a hub that does not speak MQTT',
      'PROTOCOL_ERROR',
      (_packet, session) => {
        session.send(Buffer.from('\xf0\x00HTTP/1.1 400 Bad Request\r\n\r\n', 'latin1'))
        return true
      },
    ],
  ])('%s is %s', async (_what, code, script) => {
    expect(await failure(script, { answerTimeoutMs: 50 })).toEqual(withCode(code, { retryable: true }))
  })

  test('a stream that ended while it waited to be used', async () => {
    await using hub = await bench.hub()
    const session = hub.nextSession()
    const prepared = await bench.prepare(hub.port)
    const { socket, closed } = await session
    socket.end()
    await closed
    await expect(prepared.connect(nothing, never)).rejects.toEqual(
      withCode('NETWORK_UNREACHABLE', { reason: 'closed' }),
    )
  })

  test('a hub that is not there', async () => {
    const hub = await bench.hub()
    await hub[Symbol.asyncDispose]()
    await expect(bench.prepare(hub.port)).rejects.toEqual(
      withCode('NETWORK_UNREACHABLE', { reason: 'ECONNREFUSED' }),
    )
  })
})

describe('a connection ends', () => {
  test.each<[string, Script]>([
    ['closes', (_packet, { socket }) => !!socket.end()],
    ['resets', (_packet, { socket }) => !!socket.destroy()],
  ])('when the hub %s, and the client opens no other by itself', async (_what, script) => {
    using uncaught = watchUncaught()
    await using hub = await bench.hub(
      (packet, session) => packet.cmd === 'publish' && script(packet, session),
    )
    const { connection } = await bench.connect(hub)
    await expect(connection.send({ messageId: '1', body: '' })).rejects.toEqual(
      withCode('HUB_CONNECTION_LOST', { retryable: true }),
    )
    expect(await connection.ended).toEqual(withCode('HUB_CONNECTION_LOST'))
    await expect(connection.send({ messageId: '2', body: '' })).rejects.toEqual(
      withCode('HUB_CONNECTION_LOST'),
    )
    await connection.close()
    expect(await uncaught.afterwards()).toEqual([])
    expect(hub.sessions).toHaveLength(1)
  })

  test('when the hub closes while nothing is on its way', async () => {
    await using hub = await bench.hub()
    const { connection, session } = await bench.connect(hub)
    session.socket.end()
    expect(await connection.ended).toEqual(
      withCode('HUB_CONNECTION_LOST', { cause: withCode('NETWORK_UNREACHABLE'), reason: 'closed' }),
    )
  })

  test('when a message is not acknowledged in time', async () => {
    await using hub = await bench.hub(({ cmd }) => cmd === 'publish')
    const { connection } = await bench.connect(hub, nothing, { answerTimeoutMs: 50 })
    const lost = withCode('HUB_CONNECTION_LOST', { cause: withCode('NETWORK_TIMEOUT') })
    await expect(connection.send({ messageId: '1', body: '' })).rejects.toEqual(lost)
    expect(await connection.ended).toEqual(lost)
  })

  test('when it is closed, and lets what is on its way be acknowledged', async () => {
    await using hub = await bench.hub()
    const { connection } = await bench.connect(hub)
    const sent = connection.send({ messageId: '1', body: '' })
    await Promise.all([connection.close(), connection.close()])
    await sent
    expect(await connection.ended).toBeUndefined()
  })

  test('when it is closed, though the hub acknowledges nothing any more', async () => {
    await using hub = await bench.hub(({ cmd }) => cmd === 'publish')
    const { connection } = await bench.connect(hub)
    const sent = connection.send({ messageId: '1', body: '' }).catch((error: unknown) => error)
    await connection.close()
    expect(await sent).toEqual(withCode('HUB_CONNECTION_LOST'))
    expect(await connection.ended).toBeUndefined()
  })
})

describe('telemetry', () => {
  test('travels as the official client sends it', async () => {
    await using hub = await bench.hub()
    const { connection, session } = await bench.connect(hub)
    await connection.send({
      messageId: 'a/1',
      body: '{"t":"21 °C"}',
      contentType: 'application/json',
      contentEncoding: 'utf-8',
      correlationId: 'c',
      properties: { place: 'cellar & roof', größe: '1' },
    })
    await connection.send({ messageId: '2', body: Buffer.from('bytes') })
    const sent = session.packets.filter(({ cmd }) => cmd === 'publish')
    const [first] = sent
    if (first?.cmd !== 'publish') throw new Error('nothing was sent')
    const [topic, bag] = first.topic.split('/messages/events/')
    expect(topic).toBe('devices/gateway-1')
    expect(Object.fromEntries(new URLSearchParams(bag))).toEqual({
      '$.mid': 'a/1',
      '$.cid': 'c',
      '$.ct': 'application/json',
      '$.ce': 'utf-8',
      place: 'cellar & roof',
      größe: '1',
    })
    expect(sent.map((packet) => 'payload' in packet && packet.payload)).toEqual(['{"t":"21 °C"}', 'bytes'])
    await connection.close()
  })

  test('that is too large harms nothing else', async () => {
    await using hub = await bench.hub()
    const { connection } = await bench.connect(hub)
    await expect(connection.send({ messageId: '1', body: 'x'.repeat(256 * 1024) })).rejects.toEqual(
      withCode('MESSAGE_INVALID', { retryable: false }),
    )
    await connection.send({ messageId: '2', body: 'x'.repeat(255 * 1024) })
    await connection.close()
  })
})
