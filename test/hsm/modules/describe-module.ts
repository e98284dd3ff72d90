import { readFile } from 'node:fs/promises'
import { openToken, type DeviceAgent } from 'leafkeeper'
import { SimulatedCloud } from 'leafkeeper-sim'
import { startDevice } from 'leafkeeper-sim/testing'
import type { TemporaryToken } from 'leafkeeper/testing'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { askCapabilities } from '../../../src/conformance/capabilities.ts'
import { capabilityRow } from './capability-row.ts'
import { isInstalled, startBench, type BenchName } from '../../support/modules/module-bench.ts'

/** The conformance suite of one PKCS#11 module; skipped, and counted, where Debian's package is not there. */
export function describeModule(name: BenchName): void {
  describe.skipIf(!isInstalled(name))(`the PKCS#11 module of profile ${name}`, { timeout: 60_000 }, () => {
    let bench: TemporaryToken

    beforeAll(async () => {
      bench = await startBench(name)
    })

    afterAll(() => bench.remove())

    it('can do what the table of the guide says', async () => {
      const token = await openToken(bench.options)
      onTestFinished(() => token.close())
      const answers = await askCapabilities(token)
      const row = capabilityRow(name, answers)
      const failures = answers.filter(({ answer }) => answer === 'no')
      const guide = await readFile('docs/hsm-modules.md', 'utf8')
      expect(guide.replace(/ +/g, ' '), JSON.stringify(failures)).toContain(row)
    })

    it('carries a device through rolls, a new start and a breach', async () => {
      const cloud = await SimulatedCloud.start()
      onTestFinished(() => cloud.close())
      const start = (): Promise<DeviceAgent> =>
        startDevice(cloud, bench, 'gateway-7', { policy: { overlapMs: 0 } })
      const first = await start()
      onTestFinished(() => first.stop())
      await first.connected()
      const thumbprints = new Set<string | undefined>([first.status().active?.thumbprint])
      // More often than there are places on a token for two generations.
      for (let roll = 0; roll < 3; roll += 1) {
        const gone = nextRetired(first)
        thumbprints.add((await first.roll()).newThumbprint)
        await gone
        await first.send({ body: `after roll ${roll}` })
      }
      await first.stop()

      const second = await start()
      onTestFinished(() => second.stop())
      await second.connected()
      thumbprints.add(second.status().active?.thumbprint)
      const gone = nextRetired(second)
      thumbprints.add((await second.roll({ mode: 'breach' })).newThumbprint)
      await gone
      await second.send({ body: 'after the breach' })

      expect(thumbprints.size).toBe(5)
      expect(second.status().generations).toHaveLength(1)
      expect(await second.describeKey()).toMatchObject({ sensitive: true, extractable: false })
    })
  })
}

function nextRetired(agent: DeviceAgent): Promise<void> {
  return new Promise((resolve) => agent.once('retired', () => resolve()))
}
