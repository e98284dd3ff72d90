import { describe, expect, it } from 'vitest'
import { growth } from '../support/memory.ts'
import { rollAgainAndAgain } from '../support/many-rolls.ts'

/** A thousand, and what they leave in memory: `npm run test:endurance`. */
describe('rolling 25 times in a row on one token', () => {
  it('holds the same sessions, objects, sockets and timers after the fifth roll and after the last', async () => {
    const [fifth, ...later] = await rollAgainAndAgain(25, 5)
    if (fifth === undefined) throw new Error('nothing was rolled')
    expect(later).toHaveLength(4)
    const held = { sessions: fifth.sessions, objects: fifth.objects, resources: fifth.resources }
    for (const one of later) expect(one).toMatchObject({ ...held, generations: 1 })
    // A key in two halves, and its certificates.
    expect(fifth.objects).toBeLessThanOrEqual(4)
  })
})

describe('growth', () => {
  it.each([
    ['a straight line', [1, 3, 5, 7], 2],
    ['nothing', [4, 4, 4], 0],
    ['a line with one value far out', [0, 1, 2, 900, 4, 5, 6], 1],
  ])('is that of %s', (_what, series, expected) => {
    expect(growth(series)).toBe(expected)
  })
})
