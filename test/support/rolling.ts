import type { DeviceAgent, LeafkeeperError } from 'leafkeeper'
import { next } from './world.ts'

/** What DPS may say to a device that it does not let register. */
export const dpsRefusals = ['DPS_UNAUTHORIZED', 'DPS_DISABLED']

/** Resolves when DPS has refused the next generation, which waits on the device from then on. */
export async function refusedByDps(agent: DeviceAgent): Promise<void> {
  await next(
    agent,
    'transition',
    ({ region, from, to }) => region === 'roll' && from === 'proving' && to === 'staged',
  )
}

/** What the next registration fails with. */
export async function registrationProblem(agent: DeviceAgent): Promise<LeafkeeperError> {
  const [{ error }] = await next(agent, 'problem', ({ during }) => during === 'register')
  return error
}

/** Resolves when the device has no hub any more and DPS gives it none. */
export async function shutOut(agent: DeviceAgent): Promise<void> {
  await next(agent, 'transition', ({ to }) => to === 'refused')
}
