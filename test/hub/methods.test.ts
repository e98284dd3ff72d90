import { beforeAll, describe, expect, test } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import type { MethodAnswer, MethodHandler, MethodRequest } from '../../src/hub/hub-transport.ts'
import { connack } from '../transport/support/mqtt-wire.ts'
import type { Script, Session } from '../transport/support/scripted-server.ts'
import { watchUncaught } from '../transport/support/uncaught.ts'
import { HubBench } from './support/scripted-hub.ts'

let bench: HubBench

beforeAll(async () => {
  bench = await HubBench.make()
})

/** A hub that hands out the answers to methods as they come. */
function answers(): {
  readonly script: Script
  readonly next: () => Promise<{ status: number; rid: string; payload: unknown }>
} {
  const waiting: ((answer: { status: number; rid: string; payload: unknown }) => void)[] = []
  return {
    script: (packet) => {
      if (packet.cmd !== 'publish') return false
      const [, status, rid] = /^\$iothub\/methods\/res\/(\d+)\/\?\$rid=(.*)$/.exec(packet.topic) ?? []
      if (rid === undefined) return false
      waiting.shift()?.({ status: Number(status), rid, payload: JSON.parse(packet.payload) as unknown })
      return true
    },
    next: () => new Promise((resolve) => waiting.push(resolve)),
  }
}

const call = (session: Session, name: string, payload = '', rid = '7'): void =>
  session.publish(`$iothub/methods/POST/${name}/?$rid=${rid}`, payload)

describe('a direct method', () => {
  async function ask(onMethod: MethodHandler, name: string, payload?: string): Promise<unknown> {
    const { script, next } = answers()
    await using hub = await bench.hub(script)
    const { connection, session } = await bench.connect(hub, onMethod)
    const answer = next()
    call(session, name, payload)
    const got = await answer
    await connection.close()
    return got
  }

  test('of any name reaches the handler, with its payload', async () => {
    const requests: MethodRequest[] = []
    const handler: MethodHandler = (request) => {
      requests.push(request)
      return { status: 404, payload: { unknown: request.name } }
    }
    const answer = { status: 404, rid: '7', payload: { unknown: 'no.such-method_1' } }
    expect(await ask(handler, 'no.such-method_1', '{"a":["€"]}')).toEqual(answer)
    expect(requests).toEqual([{ name: 'no.such-method_1', payload: { a: ['€'] } }])
  })

  test('may come without a payload, be answered later and without one', async () => {
    const handler: MethodHandler = async ({ payload }) => {
      await Promise.resolve()
      return { status: payload === undefined ? 200 : 400, payload: undefined }
    }
    expect(await ask(handler, 'm')).toEqual({ status: 200, rid: '7', payload: null })
  })

  test.each<[string, MethodHandler, number, unknown]>([
    [
      'throws',
      () => {
        throw new Error('the PIN is 1234')
      },
      500,
      { message: 'The method m failed on the device.' },
    ],
    [
      'rejects with one of our own errors',
      () => Promise.reject(new LeafkeeperError('HSM_DEVICE_ERROR')),
      500,
      expect.objectContaining({ code: 'HSM_DEVICE_ERROR' }),
    ],
    ['answers with no status', () => ({ status: Number.NaN, payload: null }), 500, expect.anything()],
    ['answers with a circle', () => ({ status: 200, payload: circle() }), 500, expect.anything()],
    ['answers with too much', () => ({ status: 200, payload: 'x'.repeat(200_000) }), 500, expect.anything()],
  ])('whose handler %s is answered all the same', async (_what, handler, status, payload) => {
    expect(await ask(handler, 'm', '{}')).toEqual({ status, rid: '7', payload })
  })

  test('whose payload is not JSON is answered with 400', async () => {
    const handler: MethodHandler = () => ({ status: 200, payload: null })
    expect(await ask(handler, 'm', '{oops')).toMatchObject({ status: 400 })
  })

  function circle(): unknown {
    const round: { self?: unknown } = {}
    round.self = round
    return round
  }
})

test('the answer has left before what the method leads to begins', async () => {
  const { script, next } = answers()
  await using hub = await bench.hub(script)
  const answer = next()
  const large = 'x'.repeat(100_000)
  const handler: MethodHandler = () => ({
    status: 200,
    payload: large,
    // As abrupt as it gets: nothing that is still buffered survives this.
    afterwards: () => prepared.discard(),
  })
  const session = hub.nextSession()
  const prepared = await bench.prepare(hub.port)
  await prepared.connect(handler, new AbortController().signal)
  call(await session, 'reprovision')
  expect(await answer).toEqual({ status: 200, rid: '7', payload: large })
})

test('a call that was accepted is acted upon, though its answer finds no connection any more', async () => {
  await using hub = await bench.hub()
  let release: (answer: MethodAnswer) => void = () => undefined
  const { connection, session } = await bench.connect(
    hub,
    () =>
      new Promise<MethodAnswer>((resolve) => {
        release = resolve
        session.socket.destroy()
      }),
  )
  call(session, 'reprovision')
  await connection.ended
  await new Promise<void>((resolve) => release({ status: 200, payload: null, afterwards: resolve }))
})

test('calls that arrive with CONNACK are not lost', async () => {
  const { script, next } = answers()
  await using hub = await bench.hub((packet, session) => {
    if (packet.cmd !== 'connect') return script(packet, session)
    session.send(connack(0, true))
    call(session, 'early')
    return true
  })
  const answer = next()
  const { connection } = await bench.connect(hub, ({ name }) => ({ status: 200, payload: name }))
  expect(await answer).toMatchObject({ payload: 'early' })
  await connection.close()
})

test('topics that the official client would throw on are passed over', async () => {
  using uncaught = watchUncaught()
  const { script, next } = answers()
  await using hub = await bench.hub(script)
  const { connection, session } = await bench.connect(hub, ({ name }) => ({ status: 200, payload: name }))
  const answer = next()
  session.publish('$iothub/methods/POST/', '')
  session.publish('$iothub/methods/POST/?$rid=1', '')
  session.publish('$iothub/methods/POST/m/', '')
  session.publish('$iothub/methods/POST/m/?$rid=', '')
  session.publish('$iothub/twin/res/200/?$rid=1', '{oops')
  session.publish('devices/gateway-1/messages/devicebound/%zz=%', '')
  call(session, 'good')
  expect(await answer).toMatchObject({ payload: 'good' })
  await connection.close()
  expect(await uncaught.afterwards()).toEqual([])
})
