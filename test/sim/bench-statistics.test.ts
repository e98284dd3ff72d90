import { describe, expect, it } from 'vitest'
import { median } from '../../sim/bench/statistics.ts'

describe('median', () => {
  it.each<[what: string, values: number[], expected: number]>([
    ['one value', [7], 7],
    ['an odd count, unsorted', [9, 1, 5], 5],
    ['an even count: the mean of the two in the middle', [4, 1, 3, 2], 2.5],
    ['numbers, not their texts', [10, 9, 100], 10],
    ['negative and equal values', [-2, -2, 3], -2],
  ])('of %s', (_what, values, expected) => {
    expect(median(values)).toBe(expected)
  })

  it('leaves its values as they are', () => {
    const values = [3, 1, 2]
    median(values)
    expect(values).toEqual([3, 1, 2])
  })

  it('of nothing is an error', () => {
    expect(() => median([])).toThrow(RangeError)
  })
})
