import { expect, onTestFinished } from 'vitest'
import type { DeviceAgent, DeviceAgentOptions } from 'leafkeeper'
import { Pkcs11Shim } from './pkcs11-shim.ts'
import { createEnrollingWorld, hubThumbprint, next, quickPolicy, testHsm, type World } from './world.ts'

let sharedShim: Pkcs11Shim | undefined

/** A world in which every new certificate is enrolled, and the way to its token, which can be broken. */
export interface FaultyWorld {
  readonly world: World
  readonly shim: Pkcs11Shim
  /** Starts the device and waits until it is connected. */
  readonly connect: (options?: Partial<DeviceAgentOptions>) => Promise<DeviceAgent>
  /** What the device's agent is started with: the token through the shim, and no overlap after a roll. */
  readonly options: (options?: Partial<DeviceAgentOptions>) => DeviceAgentOptions
  /** Waits until nothing is under way, and makes sure that the device is what it should be, with the newest leaf. */
  readonly settledWithNewest: (agent: DeviceAgent) => Promise<void>
}

/** Makes a world for one test. The shim lets everything pass until the test breaks it, and again when the test ends. */
export async function createFaultyWorld(registrationId: string): Promise<FaultyWorld> {
  sharedShim ??= new Pkcs11Shim(testHsm().folder)
  const shim = sharedShim
  shim.clear()
  const world = await createEnrollingWorld(registrationId)
  onTestFinished(() => shim.clear())
  const { token } = world.agentOptions(registrationId)
  const options = (given: Partial<DeviceAgentOptions> = {}): DeviceAgentOptions =>
    world.agentOptions(registrationId, {
      token: { ...token, module: shim.module },
      policy: { ...quickPolicy, overlapMs: 0 },
      ...given,
    })
  return {
    world,
    shim,
    options,
    async connect(given) {
      const agent = await world.startAgent(registrationId, options(given))
      await agent.connected()
      return agent
    },
    settledWithNewest: async (agent) => {
      await settled(agent)
      const newest = world.leaf(world.issued.length - 1)
      expectConnectedWith(world, agent, newest.thumbprint)
      expect(objectsOf(world, registrationId)).toEqual(wholeGeneration(agent))
    },
  }
}

/** Waits until the device is connected, no roll is under way and one generation is left. */
export async function settled(agent: DeviceAgent): Promise<void> {
  await agent.connected()
  const isSettled = (): boolean => {
    const { connection, roll, generations, destruction } = agent.state
    const isIdle = roll.phase === 'idle' || roll.phase === 'failed'
    return connection.phase === 'connected' && isIdle && generations.length === 1 && destruction === null
  }
  while (!isSettled()) await Promise.race([next(agent, 'transition'), next(agent, 'retired')])
}

/** The device is connected with this leaf, and its hub knows it. */
export function expectConnectedWith(world: World, agent: DeviceAgent, thumbprint: string): void {
  expect(agent.status()).toMatchObject({ connection: 'connected', active: { thumbprint } })
  expect(hubThumbprint(world.cloud, agent)).toBe(thumbprint)
}

/** Every object of a device on the token, as OpenSC's pkcs11-tool sees it: `Private Key 2`, `Certificate 2`, ... */
export function objectsOf({ hsm }: World, registrationId: string): string[] {
  return hsm
    .pkcs11Tool('-O')
    .split(/^(?=\S)/m)
    .flatMap((object) => {
      const number = new RegExp(`label: +leafkeeper:${registrationId}:(\\d+)$`, 'm').exec(object)?.[1]
      const kind = /^(Private Key|Public Key|Certificate) Object/.exec(object)?.[1]
      return number === undefined || kind === undefined ? [] : [`${kind} ${number}`]
    })
    .sort()
}

/** The objects of the active generation. */
export function wholeGeneration(agent: DeviceAgent): string[] {
  const number = agent.status().active?.generation ?? 0
  return ['Certificate', 'Private Key', 'Public Key'].map((kind) => `${kind} ${number}`)
}
