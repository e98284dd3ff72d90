import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { CrashCloud, type Enrollment, type RollMode } from '../crash/crash-cloud.ts'
import { diskErrorsAt, killsAt, recordPoints, survive } from '../crash/survive.ts'
import { withoutShim } from '../support/pkcs11-shim.ts'

/**
 * Kills a device before and after every PKCS#11 call (OpenSSL's too), file operation, TLS handshake, MQTT packet and
 * exchange with the issuer of a roll, and in the middle of every write.
 */
describe.skipIf(withoutShim)(
  'a device that is killed anywhere in a roll (skipped where there is no C compiler)',
  () => {
    let world: CrashCloud

    beforeAll(async () => {
      world = await CrashCloud.start()
    })

    afterAll(async () => {
      await world.close()
    })

    const scenarios: [Enrollment, RollMode][] = [
      ['individual', 'expiry'],
      ['individual', 'breach'],
      ['group', 'expiry'],
      ['group', 'breach'],
    ]

    it.each(scenarios)('enrolled as %s, in a roll for %s, comes back whole', async (enrollment, mode) => {
      const points = await recordPoints({ world, enrollment, mode })
      const { survived, of, failures } = await survive({ world, enrollment, mode }, killsAt(points))
      console.log(`${enrollment}, ${mode}: survived ${survived} of ${of} kills at ${points.length} points`)
      expect(failures).toEqual([])
      expect(survived).toBe(of)
    })

    it.each(scenarios)(
      'enrolled as %s, whose disk is full or broken anywhere in a roll for %s, comes back whole',
      async (enrollment, mode) => {
        const points = await recordPoints({ world, enrollment, mode })
        const errors = diskErrorsAt(points)
        const { survived, of, failures } = await survive({ world, enrollment, mode }, errors)
        console.log(`${enrollment}, ${mode}: survived ${survived} of ${of} errors of the disk`)
        expect(failures).toEqual([])
        expect(survived).toBe(of)
      },
    )
  },
)
