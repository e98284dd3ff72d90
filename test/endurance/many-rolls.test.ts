import { expect, it } from 'vitest'
import { growth } from '../support/memory.ts'
import { rollAgainAndAgain } from '../support/many-rolls.ts'

const rolls = Number(process.env['LEAFKEEPER_ROLLS'] ?? 1_000)
const sampleEvery = 20

/**
 * The first part, in which caches fill, is left out; growth is the median slope of the rest. The simulator in the same
 * process keeps a line about each registration and each message for ever, and OpenSSL's engine keeps some 3 KB of each
 * key that it has used: `growth` of a loop of handshakes with new keys shows as much, with old ones nothing.
 */
const warmUpShare = 0.4
const mostHeapPerRoll = 1_500
const mostResidentPerRoll = 16_384

it(`${rolls} rolls in a row hold as much at the end as after the warm-up`, async () => {
  const holdings = await rollAgainAndAgain(rolls, sampleEvery)
  const settled = holdings.slice(Math.floor(holdings.length * warmUpShare))
  const heapPerRoll = growth(settled.map(({ heap }) => heap)) / sampleEvery
  const residentPerRoll = growth(settled.map(({ resident }) => resident)) / sampleEvery
  const [begin, end] = [settled[0], settled.at(-1)]
  console.info(
    `${rolls} rolls: ${end?.sessions ?? 'unseen'} sessions, ${end?.objects} objects on the token; ` +
      `heap ${megabytes(begin?.heap)} -> ${megabytes(end?.heap)}, ${Math.round(heapPerRoll)} bytes a roll; ` +
      `resident ${megabytes(begin?.resident)} -> ${megabytes(end?.resident)}, ${Math.round(residentPerRoll)} bytes a roll`,
  )
  for (const { sessions, objects, generations, resources } of settled)
    expect({ sessions, objects, generations, resources }).toEqual({
      sessions: begin?.sessions,
      objects: begin?.objects,
      generations: 1,
      resources: begin?.resources,
    })
  expect(heapPerRoll).toBeLessThan(mostHeapPerRoll)
  expect(residentPerRoll).toBeLessThan(mostResidentPerRoll)
})

function megabytes(bytes = 0): string {
  return `${(bytes / 2 ** 20).toFixed(1)} MiB`
}
