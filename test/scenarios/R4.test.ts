import { expect, it, onTestFinished } from 'vitest'
import type { DeviceAgent } from 'leafkeeper'
import { TestAuthority, type IssuedLeaf } from 'leafkeeper-sim'
import type { Azure, OtherHub, Pipeline } from '../support/azure.ts'
import { scenario, type CreateAzure } from '../support/scenario.ts'
import { next } from '../support/world.ts'

/** What an entry says of the hub and of devices that register again. */
interface Settings {
  readonly iotHubHostName?: string
  readonly allocationPolicy?: 'static'
  readonly reprovisionPolicy?: { readonly updateHubAssignment: boolean; readonly migrateDeviceData: boolean }
  readonly initialTwin?: object
}

/** An entry of either kind for one device. */
interface Entry {
  readonly pipeline: Pipeline
  /** Changes these settings and leaves the others. */
  change(settings: Settings): Promise<void>
}

/** A connected device, and the hub that it could move to. */
interface Moving {
  readonly azure: Azure
  readonly otherHub: OtherHub
  readonly device: string
  readonly agent: DeviceAgent
  readonly entry: Entry
}

type Enroll = (azure: Azure, device: string, settings: Settings) => Promise<Entry>

const migrate = { updateHubAssignment: true, migrateDeviceData: true }
const reset = { updateHubAssignment: true, migrateDeviceData: false }
const never = { updateHubAssignment: false, migrateDeviceData: false }

const initialTwin = { tags: { site: 'factory' }, properties: { desired: { interval: 60 } } }
const changes = { tags: { site: 'north', asset: 7 }, properties: { desired: { interval: 5 } } }

scenario(
  'R4: the reprovision policy of an individual enrollment is honoured',
  (createAzure) => describePolicies(createAzure, 'individual', enrollIndividually),
  { otherHub: true },
)

scenario(
  'R4: the reprovision policy of an enrollment group is honoured',
  (createAzure) => describePolicies(createAzure, 'group', enrollByGroup),
  { otherHub: true, authorities: true },
)

function describePolicies(createAzure: CreateAzure, kind: string, enroll: Enroll): void {
  it.each([
    ['migrate', migrate, 'deviceDataMigrated', changes],
    ['reset', reset, 'deviceDataReset', initialTwin],
  ] as const)(
    'reprovision and %s: the device moves, and finds its twin so',
    async (name, reprovisionPolicy, substatus, twin) => {
      const { azure, otherHub, device, agent, entry } = await connectedDevice(name, reprovisionPolicy)
      await entry.change({ iotHubHostName: otherHub.hub })
      const registered = next(agent, 'registered')
      const arrived = next(agent, 'connected', ({ assignment }) => assignment.hub === otherHub.hub)
      expect(await azure.invoke(device, 'reprovision')).toBe(200)
      expect((await registered)[0]).toMatchObject({ assignment: { hub: otherHub.hub }, substatus })
      await arrived
      await agent.send({ body: 'from the other hub' })

      expect(await registrationState(azure, device)).toMatchObject({ assignedHub: otherHub.hub, substatus })
      expect(await twinAt(otherHub, device)).toEqual(twin)
      expect(await azure.hubDevice(device)).toBeUndefined()
    },
  )

  it('never reprovision: the device stays where it is with its twin, also when it rolls', async () => {
    const { azure, otherHub, device, agent, entry } = await connectedDevice('never', never)
    await entry.change({ iotHubHostName: otherHub.hub })
    const registered = next(agent, 'registered')
    expect(await azure.invoke(device, 'reprovision')).toBe(200)
    const stayed = { assignedHub: azure.hub, substatus: 'reprovisionedToInitialAssignment' }
    expect((await registered)[0]).toMatchObject({
      assignment: { hub: azure.hub },
      substatus: stayed.substatus,
    })
    expect(await registrationState(azure, device)).toMatchObject(stayed)

    const { newThumbprint } = await agent.roll()
    expect(await azure.hubThumbprint(device)).toBe(newThumbprint)
    expect(await registrationState(azure, device)).toMatchObject(stayed)
    expect(await twinAt(azure, device)).toEqual(changes)
    await expect(otherHub.registry.get(device)).rejects.toMatchObject({ name: 'DeviceNotFoundError' })
  })

  /** A device at the first hub whose twin is no longer as it was made. */
  async function connectedDevice(
    name: string,
    reprovisionPolicy: NonNullable<Settings['reprovisionPolicy']>,
  ): Promise<Moving> {
    const azure = await createAzure({ hubs: ['hub-a', 'hub-b'] })
    const { otherHub } = azure
    if (otherHub === undefined) throw new Error('Expected a second hub.')
    const device = azure.name(`r4-${kind}-${name}`)
    onTestFinished(async () => {
      await otherHub.registry.delete(device).catch(() => undefined)
    })
    const entry = await enroll(azure, device, {
      iotHubHostName: azure.hub,
      allocationPolicy: 'static',
      reprovisionPolicy,
      initialTwin,
    })
    const agent = await azure.startAgent(device, entry.pipeline)
    await agent.connected()
    expect(await registrationState(azure, device)).toMatchObject({
      assignedHub: azure.hub,
      substatus: 'initialAssignment',
    })
    expect(await twinAt(azure, device)).toEqual(initialTwin)
    await azure.registry.updateTwin(device, changes, '*')
    return { azure, otherHub, device, agent, entry }
  }
}

/** An individual enrollment that has the newest leaf and the one before it. */
async function enrollIndividually(azure: Azure, device: string, settings: Settings): Promise<Entry> {
  const { provisioning } = azure
  let wanted = settings
  const change = async (changed: Settings): Promise<void> => {
    wanted = { ...wanted, ...changed }
    const { responseBody } = await provisioning.getIndividualEnrollment(device)
    await provisioning.createOrUpdateIndividualEnrollment({ ...responseBody, ...wanted } as never)
  }
  const leaves: IssuedLeaf[] = []
  return {
    change,
    pipeline: {
      authority: await TestAuthority.createRoot({ commonName: `${device} root` }),
      issued: async (leaf) => {
        leaves.unshift(leaf)
        const [primary, secondary] = leaves
        await azure.putIndividual({ registrationId: device, primary, secondary })
        await change({})
      },
    },
  }
}

async function enrollByGroup(azure: Azure, device: string, settings: Settings): Promise<Entry> {
  const { provisioning } = azure
  const root = await TestAuthority.createRoot({ commonName: `${device} root` })
  await azure.addVerified(`${device}-root`, root)
  await azure.putGroup({ enrollmentGroupId: device, roots: { primary: `${device}-root` } })
  const change = async (changed: Settings): Promise<void> => {
    const { responseBody } = await provisioning.getEnrollmentGroup(device)
    await provisioning.createOrUpdateEnrollmentGroup({ ...responseBody, ...changed } as never)
  }
  await change(settings)
  return { change, pipeline: { authority: root } }
}

async function registrationState({ provisioning }: Azure, device: string): Promise<unknown> {
  const { responseBody } = await provisioning.getDeviceRegistrationState(device)
  return responseBody
}

/** Tags and desired properties, without what the hub notes beside them. */
async function twinAt({ registry }: Pick<OtherHub, 'registry'>, device: string): Promise<object> {
  const { tags, properties } = (await registry.getTwin(device)).responseBody
  const desired = Object.entries(properties.desired).filter(([name]) => !name.startsWith('$'))
  return { tags, properties: { desired: Object.fromEntries(desired) } }
}
