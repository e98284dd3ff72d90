import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { withoutShim } from '../support/pkcs11-shim.ts'
import type { Point } from './conversation.ts'
import { CrashCloud } from './crash-cloud.ts'
import { killsAt, recordPoints, survive } from './survive.ts'

/** What changes the token or the journal, and what the world outside comes to know of. */
const changes =
  /^(C_GenerateKeyPair|C_CreateObject|C_DestroyObject|write .*|issuer answer|dps < PUBLISH|hub < CONNACK)$/

/** In `npm test` those points alone; `npm run test:endurance` kills at every point of four kinds of rolls. */
describe.skipIf(withoutShim)(
  'a device that is killed in a roll (skipped where there is no C compiler)',
  () => {
    let world: CrashCloud

    beforeAll(async () => {
      world = await CrashCloud.start()
    })

    afterAll(async () => {
      await world.close()
    })

    it('comes back whole from each point that changes something', async () => {
      const scenario = { world, enrollment: 'individual', mode: 'expiry' } as const
      const all = await recordPoints(scenario)
      expect(all.map(({ name }) => name)).toEqual(
        expect.arrayContaining([
          'C_GenerateKeyPair',
          'C_Sign',
          'C_DestroyObject',
          'write state/journal',
          'hub < CONNACK',
        ]),
      )
      const points = all.filter(({ name }: Point) => changes.test(name))
      const { survived, of, failures } = await survive(scenario, killsAt(points))
      expect(failures).toEqual([])
      expect(survived).toBe(of)
    }, 240_000)
  },
)
