import type { DeviceAgent } from 'leafkeeper'
import { expect } from 'vitest'
import type { World } from './world.ts'

/** Resolves when the twin of the device says this of its agent. */
export async function twinSays(world: World, agent: DeviceAgent, expected: object): Promise<object> {
  for (;;) {
    const changed = new Promise<void>((resolve) => world.cloud.events.once('twinChanged', () => resolve()))
    const hub = world.cloud.hub(agent.state.assignment?.hub ?? '')
    const { leafkeeper = {} } = hub.twin(agent.state.commonName).reported as { leafkeeper?: object }
    try {
      expect(leafkeeper).toMatchObject(expected)
      return leafkeeper
    } catch {
      await changed
    }
  }
}
