import fc from 'fast-check'
import { expect } from 'vitest'
import { Environment, type Move } from './environment.ts'

const pick = fc.nat({ max: 5 })
const move: fc.Arbitrary<Move> = fc.oneof(
  { weight: 12, arbitrary: fc.record({ kind: fc.constant('complete' as const), pick }) },
  { weight: 3, arbitrary: fc.record({ kind: fc.constant('fail' as const), pick, how: pick }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('loseAnswer' as const), pick }) },
  { weight: 4, arbitrary: fc.constant({ kind: 'wake' as const }) },
  ...(
    [
      'drop',
      'roll',
      'breach',
      'reprovision',
      'crash',
      'oldJournal',
      'withdrawOld',
      'deleteRecord',
      'moveHub',
      'stop',
    ] as const
  ).map((kind) => ({ weight: 1, arbitrary: fc.constant({ kind }) })),
  { weight: 2, arbitrary: fc.constant({ kind: 'enrollNewest' as const }) },
)

/** Walks the machine through so many random lives; each keeps its invariants, and comes back once the faults stop. */
export function walkRandomly(dps: boolean, walks: number): void {
  fc.assert(
    fc.property(fc.array(move, { minLength: 10, maxLength: 120 }), (moves) => {
      const world = new Environment(dps)
      for (const one of moves) world.apply(one)
      world.settle()
      expect(world.machine.state.connection.phase).toBe('connected')
    }),
    { numRuns: walks },
  )
}
