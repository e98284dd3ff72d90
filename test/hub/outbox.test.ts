import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import { Outbox } from '../../src/hub/outbox.ts'
import { FakeConnection } from './support/fake-connection.ts'

const withCode = (code: string): unknown => expect.objectContaining({ code })

/** Takes messages with these ids, and keeps how each send() ended. */
function sendAll(outbox: Outbox, ids: string): Map<string, unknown> {
  const outcomes = new Map<string, unknown>()
  for (const messageId of ids) {
    outbox.send({ messageId, body: messageId }).then(
      () => outcomes.set(messageId, 'acknowledged'),
      (error: unknown) => outcomes.set(messageId, error),
    )
  }
  return outcomes
}

describe('sending', () => {
  test('resolves when the hub has acknowledged', async () => {
    const outbox = new Outbox()
    const connection = new FakeConnection()
    outbox.attach(connection)
    const outcomes = sendAll(outbox, 'a')
    await turn()
    expect(outcomes.size).toBe(0)
    connection.acknowledge()
    await turn()
    expect(outcomes.get('a')).toBe('acknowledged')
    expect(outbox.size).toBe(0)
  })

  test('waits for a connection', async () => {
    const outbox = new Outbox()
    sendAll(outbox, 'abc')
    expect(outbox).toMatchObject({ size: 3, inFlight: 0 })
    const connection = new FakeConnection()
    outbox.attach(connection)
    expect(connection.sent.join('')).toBe('abc')
    outbox.close()
    await turn()
  })

  test('keeps to its window', async () => {
    const outbox = new Outbox({ window: 2 })
    const connection = new FakeConnection()
    outbox.attach(connection)
    sendAll(outbox, 'abcd')
    expect(connection.sent.join('')).toBe('ab')
    connection.acknowledge()
    await turn()
    expect(connection.sent.join('')).toBe('abc')
    outbox.close()
  })

  test('makes up an id, and takes the message as it was', async () => {
    const outbox = new Outbox()
    const body = new Uint8Array([1, 2, 3])
    const properties: Record<string, string> = { a: '1' }
    void outbox.send({ body, properties }).catch(() => undefined)
    body.fill(0)
    properties['a'] = '2'
    const connection = new FakeConnection()
    outbox.attach(connection)
    expect(connection.messages[0]).toEqual({
      messageId: expect.stringMatching(/^[0-9a-f-]{36}$/) as string,
      body: new Uint8Array([1, 2, 3]),
      properties: { a: '1' },
    })
    outbox.close()
    await turn()
  })

  test('an invalid message harms no other', async () => {
    const outbox = new Outbox()
    const connection = new FakeConnection()
    outbox.attach(connection)
    const outcomes = sendAll(outbox, 'ab')
    await expect(outbox.send({ body: 'x'.repeat(300_000) })).rejects.toEqual(withCode('MESSAGE_INVALID'))
    connection.refuse(new LeafkeeperError('MESSAGE_INVALID'))
    connection.acknowledge()
    await turn()
    expect([...outcomes.values()]).toEqual([withCode('MESSAGE_INVALID'), 'acknowledged'])
  })

  test('can be given up', async () => {
    const outbox = new Outbox({ window: 1 })
    const connection = new FakeConnection()
    outbox.attach(connection)
    sendAll(outbox, 'a')
    const abort = new AbortController()
    const sent = outbox.send({ messageId: 'b', body: '' }, abort.signal)
    sendAll(outbox, 'c')
    abort.abort(new Error('enough'))
    await expect(sent).rejects.toThrow('enough')
    connection.acknowledge()
    await turn()
    expect(connection.sent.join('')).toBe('ac')
    await expect(outbox.send({ body: '' }, abort.signal)).rejects.toThrow('enough')
    outbox.close()
  })
})

describe('a lost connection', () => {
  test('leaves its messages for the next, first and in order', async () => {
    const outbox = new Outbox({ window: 2 })
    const [first, second] = [new FakeConnection(), new FakeConnection()]
    outbox.attach(first)
    const outcomes = sendAll(outbox, 'abcd')
    first.acknowledge()
    await turn()
    first.lose()
    await turn()
    expect(outbox).toMatchObject({ size: 3, inFlight: 0 })
    outbox.attach(second)
    for (let index = 0; index < 3; index++) {
      second.acknowledge()
      await turn()
    }
    expect(first.sent.join('')).toBe('abc')
    expect(second.sent.join('')).toBe('bcd')
    expect([...outcomes.values()]).toEqual(Array(4).fill('acknowledged'))
  })

  test('is used no more, though nobody said that it is gone', async () => {
    const outbox = new Outbox()
    const connection = new FakeConnection()
    outbox.attach(connection)
    connection.lose()
    sendAll(outbox, 'ab')
    await turn()
    expect(connection.sent).toEqual([])
    expect(outbox).toMatchObject({ size: 2, inFlight: 0 })
    outbox.close()
  })

  test('may still acknowledge after the next has taken over', async () => {
    const outbox = new Outbox()
    const [old, next] = [new FakeConnection(), new FakeConnection()]
    outbox.attach(old)
    const outcomes = sendAll(outbox, 'ab')
    outbox.attach(next)
    old.acknowledge()
    next.acknowledge()
    await turn()
    expect(outcomes.get('a')).toBe('acknowledged')
    old.lose()
    await turn()
    expect(outbox.size).toBe(1)
    next.acknowledge()
    await turn()
    expect(outcomes.get('b')).toBe('acknowledged')
  })

  test('that is detached late does not disturb the next', async () => {
    const outbox = new Outbox()
    const [old, next] = [new FakeConnection(), new FakeConnection()]
    outbox.attach(old)
    outbox.attach(next)
    sendAll(outbox, 'a')
    outbox.detach(old)
    expect(outbox.inFlight).toBe(1)
    outbox.detach(next)
    expect(outbox.inFlight).toBe(0)
    outbox.close()
    await turn()
  })
})

describe('a pause', () => {
  test('waits for what is in flight, and holds back the rest', async () => {
    const outbox = new Outbox({ window: 1 })
    const [old, next] = [new FakeConnection(), new FakeConnection()]
    outbox.attach(old)
    sendAll(outbox, 'ab')
    const paused = outbox.pause(10_000)
    old.acknowledge()
    expect(await paused).toBe(true)
    expect(old.sent.join('')).toBe('a')
    outbox.attach(next)
    expect(next.sent).toEqual([])
    outbox.resume()
    expect(next.sent.join('')).toBe('b')
    outbox.close()
  })

  test('has an end', async () => {
    const outbox = new Outbox()
    outbox.attach(new FakeConnection())
    expect(await outbox.pause(10)).toBe(true)
    outbox.resume()
    sendAll(outbox, 'a')
    expect(await outbox.pause(10)).toBe(false)
    outbox.close()
  })

  test('ends where the connection is lost: nothing is in flight then', async () => {
    const outbox = new Outbox()
    const connection = new FakeConnection()
    outbox.attach(connection)
    sendAll(outbox, 'a')
    const paused = outbox.pause(10_000)
    connection.lose()
    expect(await paused).toBe(true)
    outbox.close()
  })
})

describe('the bounds', () => {
  test('refuse one message more, and tell when there is room again', async () => {
    let drained = 0
    const outbox = new Outbox({ capacity: 4, onDrain: () => (drained += 1) })
    const connection = new FakeConnection()
    outbox.attach(connection)
    sendAll(outbox, 'abcd')
    expect(outbox.pressure).toBe(1)
    await expect(outbox.send({ body: '' })).rejects.toEqual(withCode('OUTBOX_FULL'))
    connection.acknowledge()
    await turn()
    expect([outbox.pressure, drained]).toEqual([0.75, 0])
    connection.acknowledge()
    await turn()
    expect([outbox.pressure, drained]).toEqual([0.5, 1])
    connection.acknowledge()
    connection.acknowledge()
    await turn()
    expect([outbox.pressure, drained]).toEqual([0, 1])
  })

  test('count bytes too, but let one message through whatever its size', async () => {
    const outbox = new Outbox({ maxBytes: 100 })
    const large = outbox.send({ body: 'x'.repeat(1_000) }).catch((error: unknown) => error)
    expect(outbox.pressure).toBe(10)
    await expect(outbox.send({ body: 'x' })).rejects.toEqual(withCode('OUTBOX_FULL'))
    outbox.close()
    expect(await large).toEqual(withCode('OUTBOX_CLOSED'))
  })

  test.each([{ capacity: 0 }, { maxBytes: -1 }, { window: 1.5 }, { capacity: Number.NaN }])(
    'are checked: %j',
    (options) => {
      expect(() => new Outbox(options)).toThrow(withCode('AGENT_CONFIG_INVALID'))
    },
  )
})

describe('closing', () => {
  test('reports every message that is left, and takes none after', async () => {
    const outbox = new Outbox({ window: 1 })
    outbox.attach(new FakeConnection())
    const outcomes = sendAll(outbox, 'ab')
    outbox.close()
    outbox.attach(new FakeConnection())
    await turn()
    expect([...outcomes.values()]).toEqual([withCode('OUTBOX_CLOSED'), withCode('OUTBOX_CLOSED')])
    await expect(outbox.send({ body: '' })).rejects.toEqual(withCode('OUTBOX_CLOSED'))
    expect(outbox.size).toBe(0)
  })

  test('ends what waits for it, and leaves no timer', async () => {
    const timers = (): number => process.getActiveResourcesInfo().filter((kind) => kind === 'Timeout').length
    const before = timers()
    const outbox = new Outbox()
    outbox.attach(new FakeConnection())
    sendAll(outbox, 'a')
    const waiting = [outbox.flush(3_600_000), outbox.pause(3_600_000)]
    expect(timers()).toBe(before + 2)
    outbox.close()
    expect(await Promise.all(waiting)).toEqual([false, false])
    expect(timers()).toBe(before)
  })

  test('may come after everything is acknowledged', async () => {
    const outbox = new Outbox()
    const connection = new FakeConnection()
    outbox.attach(connection)
    sendAll(outbox, 'ab')
    const flushed = outbox.flush(10_000)
    connection.acknowledge()
    connection.acknowledge()
    expect(await flushed).toBe(true)
    outbox.close()
  })
})
