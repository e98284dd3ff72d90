import type { DeviceAgent } from 'leafkeeper'
import { next } from './world.ts'

/** Resolves when DPS has refused the next generation, which waits on the device from then on. */
export async function refusedByDps(agent: DeviceAgent): Promise<void> {
  await next(
    agent,
    'transition',
    ({ region, from, to }) => region === 'roll' && from === 'proving' && to === 'staged',
  )
}
