import { expect } from 'vitest'
import type { DeviceAgent } from 'leafkeeper'
import type { Azure } from './azure.ts'
import { stealKey } from './stolen-key.ts'
import { next, quickPolicy } from './world.ts'

/** For devices that everyone refuses until they have a new leaf: they ask again soon. */
export const soonAgain = { ...quickPolicy, refusal: { baseMs: 50, capMs: 200 } }

/** How the hub comes to know the new certificate of a device. */
export type HubSide = (azure: Azure, agent: DeviceAgent) => Promise<void>

/** DPS no longer lets the compromised certificate in; the hub, which has not heard of it, still does. */
export const showStillConnecting: HubSide = async (azure, agent) => {
  const thief = await stealKey(azure, agent.status().registrationId, 1)
  await expect(thief.register()).rejects.toMatchObject({ code: 'DPS_UNAUTHORIZED' })
  // The thief takes the device's place at the hub, and the device comes back.
  const again = next(agent, 'connected')
  await thief.connect()
  await again
}

/**
 * The first way (IB2): the hub's record of the device is deleted at once, and made anew when the device registers with
 * its new certificate.
 */
export const deleteThenRoll: HubSide = async (azure, agent) => {
  const { registrationId } = agent.status()
  const thief = await stealKey(azure, registrationId, 1)
  const afterTheRoll = await thief.prepare()
  const refused = next(agent, 'transition', ({ to }) => to === 'refused')
  await azure.deleteHubDevice(registrationId)
  await expect(thief.connect()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
  await refused
  expect(await azure.hubDevice(registrationId)).toBeUndefined()

  const { newThumbprint } = await agent.roll({ mode: 'breach' })
  expect(await azure.hubThumbprint(registrationId)).toBe(newThumbprint)
  await expect(afterTheRoll()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
}

/** The second way (IB3): the device registers to the same hub, which replaces the certificate of its record. */
export const rollThenReplaced: HubSide = async (azure, agent) => {
  const { registrationId } = agent.status()
  const thief = await stealKey(azure, registrationId, 1)
  const afterTheRoll = await thief.prepare()
  const { oldThumbprint, newThumbprint } = await agent.roll({ mode: 'breach' })
  expect(newThumbprint).not.toBe(oldThumbprint)
  expect(await azure.hubThumbprint(registrationId)).toBe(newThumbprint)
  await expect(afterTheRoll()).rejects.toMatchObject({ code: 'HUB_UNAUTHORIZED' })
}
