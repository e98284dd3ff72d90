import type { DeviceAgent, DeviceAgentOptions } from 'leafkeeper'
import { temporaryToken, type TemporaryToken } from 'leafkeeper/testing'
import { test as plain } from 'vitest'
import { SimulatedCloud } from '../cloud.ts'
import { startDevice } from './start-device.ts'

/** What a test may ask for by name; only what it asks for is made. */
export interface SimulatedAzure {
  /** A SoftHSM token, the same for each test of the file. Each file wants a process of its own (pool `forks`). */
  readonly token: TemporaryToken
  /** DPS, two hubs and an EST server; each test has its own. */
  readonly cloud: SimulatedCloud
  /**
   * Starts a device in that cloud, its key in that token and its certificates enrolled as they are issued; it is
   * stopped when the test ends.
   */
  readonly device: (registrationId: string, options?: Partial<DeviceAgentOptions>) => Promise<DeviceAgent>
}

/**
 * vitest's `test` with a local Azure and an HSM.
 *
 * @example
 * ```ts
 * test('a gateway connects', async ({ cloud, device, expect }) => {
 *   const gateway = await device('gateway-7')
 *   await gateway.connected()
 *   expect(cloud.dps.enrollments.get('gateway-7')).toBeDefined()
 * })
 * ```
 */
export const test = plain.extend<SimulatedAzure>({
  token: [
    // eslint-disable-next-line no-empty-pattern -- vitest reads from the pattern what a fixture builds upon
    async ({}, use) => {
      const token = await temporaryToken()
      await use(token)
      await token.remove()
    },
    { scope: 'file' },
  ],
  // eslint-disable-next-line no-empty-pattern -- as above
  cloud: async ({}, use) => {
    const cloud = await SimulatedCloud.start()
    await use(cloud)
    await cloud.close()
  },
  device: async ({ cloud, token }, use) => {
    const started: DeviceAgent[] = []
    await use(async (registrationId, options) => {
      const agent = await startDevice(cloud, token, registrationId, options)
      started.push(agent)
      return agent
    })
    await Promise.all(started.map((agent) => agent.stop()))
  },
})
