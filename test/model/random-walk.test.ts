import { describe, it } from 'vitest'
import { walkRandomly } from './random-walk.ts'

const walks = Number(process.env['LEAFKEEPER_WALKS'] ?? 3_000)

describe('the machine in a hostile world', () => {
  it.each([
    ['with DPS', true],
    ['without DPS', false],
  ])('%s keeps its invariants on every walk, and comes back once the faults stop', (_name, dps) => {
    walkRandomly(dps, walks)
  })
})
