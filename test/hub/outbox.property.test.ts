import fc from 'fast-check'
import { setImmediate as turn } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { LeafkeeperError } from '../../src/errors.ts'
import { Outbox } from '../../src/hub/outbox.ts'
import { FakeConnection } from './support/fake-connection.ts'

/** What can happen to an outbox, in any order. */
const step = fc.oneof(
  { weight: 4, arbitrary: fc.constant('send' as const) },
  { weight: 4, arbitrary: fc.constant('acknowledge' as const) },
  fc.constantFrom(
    'lose',
    'takeOver',
    'attach',
    'detach',
    'pause',
    'resume',
    'settle',
    'abort',
    'poison',
    'late',
  ),
)

test('no message is lost or left unsettled, and each connection sees them in order', async () => {
  await fc.assert(
    fc.asyncProperty(
      fc.array(step, { maxLength: 80 }),
      fc.integer({ min: 1, max: 5 }),
      fc.integer({ min: 1, max: 12 }),
      fc.boolean(),
      async (steps, window, capacity, closesEarly) => {
        const outbox = new Outbox({ window, capacity })
        const connections: FakeConnection[] = []
        const outcomes = new Map<string, string>()
        const aborts: AbortController[] = []
        let current: FakeConnection | undefined
        let count = 0
        const attach = (): void => {
          current = new FakeConnection()
          connections.push(current)
          outbox.attach(current)
        }
        const send = (): void => {
          const messageId = String((count += 1)).padStart(4, '0')
          const abort = new AbortController()
          aborts.push(abort)
          outcomes.set(messageId, 'open')
          const settled = (outcome: string) => (): void => {
            // A promise settles once; that it settles at all is checked below.
            outcomes.set(messageId, outcome)
          }
          outbox
            .send({ messageId, body: messageId }, abort.signal)
            .then(settled('acknowledged'), (error: unknown) =>
              settled(error instanceof LeafkeeperError ? error.code : 'aborted')(),
            )
        }
        for (const next of steps) {
          if (next === 'send') send()
          else if (next === 'acknowledge') current?.acknowledge()
          else if (next === 'lose') current?.lose()
          else if (next === 'attach' || next === 'takeOver') attach()
          else if (next === 'detach' && current !== undefined) outbox.detach(current)
          else if (next === 'pause') void outbox.pause(60_000)
          else if (next === 'resume') outbox.resume()
          else if (next === 'abort') aborts.at(-2)?.abort()
          else if (next === 'poison') current?.refuse(new LeafkeeperError('MESSAGE_INVALID'))
          else if (next === 'late') connections.at(-2)?.acknowledge()
          else await turn()
          expect(outbox.inFlight).toBeLessThanOrEqual(window)
          expect(outbox.size).toBeLessThanOrEqual(capacity)
        }
        if (closesEarly) {
          outbox.close()
        } else {
          outbox.resume()
          attach()
          const flushed = outbox.flush(60_000)
          await turn()
          while (outbox.size > 0) {
            current?.acknowledge()
            await turn()
          }
          expect(await flushed).toBe(true)
          outbox.close()
        }
        await turn()

        const ends = [...outcomes.values()]
        expect(ends).not.toContain('open')
        if (!closesEarly) expect(ends).not.toContain('OUTBOX_CLOSED')
        for (const { sent } of connections) expect(sent).toEqual([...new Set(sent)].sort())
        const seen = new Set(connections.flatMap(({ sent }) => sent))
        for (const [messageId, end] of outcomes) if (end === 'acknowledged') expect(seen).toContain(messageId)
      },
    ),
    { numRuns: 300 },
  )
})
