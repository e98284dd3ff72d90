import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { patchBetween, patched } from '../../src/agent/merge-patch.ts'
import type { TwinProperties } from '../../src/twin-channel.ts'

describe('a JSON merge patch', () => {
  // The examples of RFC 7396, appendix A, that are about objects.
  it.each<[TwinProperties, TwinProperties, TwinProperties]>([
    [{ a: 'b' }, { a: 'c' }, { a: 'c' }],
    [{ a: 'b' }, { b: 'c' }, { a: 'b', b: 'c' }],
    [{ a: 'b' }, { a: null }, {}],
    [{ a: 'b', b: 'c' }, { a: null }, { b: 'c' }],
    [{ a: ['b'] }, { a: 'c' }, { a: 'c' }],
    [{ a: 'c' }, { a: ['b'] }, { a: ['b'] }],
    [{ a: { b: 'c' } }, { a: { b: 'd', c: null } }, { a: { b: 'd' } }],
    [{ a: [{ b: 'c' }] }, { a: [1] }, { a: [1] }],
    [{ e: null }, { a: 1 }, { e: null, a: 1 }],
    [{}, { a: { bb: { ccc: null } } }, { a: { bb: {} } }],
  ])('of %j with %j is %j', (target, patch, result) => {
    expect(patched(target, patch)).toEqual(result)
  })

  it.each<[TwinProperties, TwinProperties, TwinProperties | undefined]>([
    [{}, {}, undefined],
    [{ a: 1, b: { c: [2] } }, { b: { c: [2] }, a: 1 }, undefined],
    [{ a: 1 }, { a: 1, b: null }, undefined],
    [{ a: 1, b: 2 }, { a: 1 }, { b: null }],
    [{ a: 1 }, { a: null }, { a: null }],
    [{ a: { b: 1, c: 2 } }, { a: { b: 1, c: 3 } }, { a: { c: 3 } }],
    [{ a: 1 }, { a: {} }, { a: {} }],
    [{ a: { b: 1 } }, { a: 'text' }, { a: 'text' }],
    [{ a: [1] }, { a: [1, 2] }, { a: [1, 2] }],
  ])('from %j to %j is %j', (from, to, patch) => {
    expect(patchBetween(from, to)).toEqual(patch)
  })

  const value = fc.letrec((tie) => ({
    properties: fc.dictionary(fc.constantFrom('a', 'b', 'c'), tie('value'), { maxKeys: 3 }),
    value: fc.oneof(
      { depthSize: 'small' },
      fc.integer(),
      fc.string(),
      fc.array(fc.integer(), { maxLength: 2 }),
      tie('properties'),
    ),
  }))

  it('between any two turns the one into the other', () => {
    const properties = value.properties as fc.Arbitrary<TwinProperties>
    fc.assert(
      fc.property(properties, properties, (from, to) => {
        expect(patched(from, patchBetween(from, to) ?? {})).toEqual(to)
        expect(patchBetween(to, to)).toBeUndefined()
      }),
    )
  })
})
