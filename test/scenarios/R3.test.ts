import { randomUUID } from 'node:crypto'
import { expect, it, vi } from 'vitest'
import type { DeviceAgent, MethodTable } from 'leafkeeper'
import { TestAuthority } from 'leafkeeper-sim'
import type { Azure } from '../support/azure.ts'
import { scenario, type CreateAzure } from '../support/scenario.ts'
import { next } from '../support/world.ts'

interface Job {
  readonly status: string
  readonly deviceJobStatistics: Readonly<Record<string, number>>
}

interface DeviceResult {
  readonly deviceId: string
  readonly status: string
  readonly outcome?: { readonly deviceMethodResponse: { readonly status: number; readonly payload: unknown } }
  readonly error?: { readonly code: string }
}

/** Devices of one group at one hub, each tagged with its site. */
interface Fleet {
  readonly azure: Azure
  /** The query condition that finds the devices of a site. */
  condition(site: string): string
  /** Names of the devices of a site, in order. */
  at(site: string): readonly string[]
  agent(device: string): DeviceAgent
}

scenario(
  'R3: an IoT Hub job tells many devices to register again',
  (createAzure) => {
    it('calls reprovision on the devices that the condition finds, at the start time', async () => {
      const fleet = await createFleet(createAzure, 'r3a', { north: 12, south: 2 })
      const { azure } = fleet
      const registered = fleet.at('north').map((device) => next(fleet.agent(device), 'registered'))
      let others = 0
      for (const device of fleet.at('south')) fleet.agent(device).on('registered', () => (others += 1))

      const jobId = randomUUID()
      const startTime = new Date(Date.now() + 1500)
      const call = { methodName: 'reprovision', payload: null, responseTimeoutInSeconds: 30 }
      await azure.jobs.scheduleDeviceMethod(jobId, fleet.condition('north'), call, startTime, 300)
      expect(await statusOf(azure, jobId)).toMatchObject({ status: 'scheduled' })

      // Each registers again, keeps its certificate and stays at its hub.
      for (const [{ generation, assignment, substatus }] of await Promise.all(registered)) {
        expect({ generation, hub: assignment.hub, substatus }).toEqual({
          generation: 1,
          hub: azure.hub,
          substatus: 'reprovisionedToInitialAssignment',
        })
      }
      expect(Date.now()).toBeGreaterThanOrEqual(startTime.getTime())
      expect(await ended(azure, jobId)).toMatchObject({
        status: 'completed',
        deviceJobStatistics: { deviceCount: 12, succeededCount: 12, failedCount: 0 },
      })
      const results = await resultsOf(azure, jobId)
      expect(results.map(({ deviceId }) => deviceId)).toEqual(fleet.at('north'))
      for (const { status, outcome } of results) {
        expect(status).toBe('completed')
        expect(outcome?.deviceMethodResponse).toEqual({ status: 200, payload: { accepted: true } })
      }
      expect(others).toBe(0)
    })

    it('calls rollCertificate, and each device comes back with a new leaf', async () => {
      const fleet = await createFleet(createAzure, 'r3b', { north: 10 })
      const { azure } = fleet
      const rolled = fleet.at('north').map((device) => next(fleet.agent(device), 'rolled'))

      const jobId = randomUUID()
      const call = {
        methodName: 'rollCertificate',
        payload: { mode: 'expiry' },
        responseTimeoutInSeconds: 30,
      }
      await azure.jobs.scheduleDeviceMethod(jobId, fleet.condition('north'), call, new Date(), 300)
      const reports = (await Promise.all(rolled)).map(([report]) => report)
      expect(await ended(azure, jobId)).toMatchObject({ status: 'completed' })
      expect(await resultsOf(azure, jobId)).toHaveLength(10)
      for (const [index, { oldThumbprint, newThumbprint }] of reports.entries()) {
        expect(newThumbprint).not.toBe(oldThumbprint)
        expect(await azure.hubThumbprint(fleet.at('north')[index] ?? '')).toBe(newThumbprint)
      }
    })

    it('has fifty devices roll within a window, each at an instant of its own', async () => {
      const fleet = await createFleet(createAzure, 'r3w', { north: 50 })
      const { azure } = fleet
      const begun: number[] = []
      const rolled = fleet.at('north').map(async (device) => {
        const agent = fleet.agent(device)
        agent.on('transition', ({ region, to, at }) => {
          if (region === 'roll' && to === 'generating') begun.push(at.getTime())
        })
        const [report] = await next(agent, 'rolled')
        return report
      })

      const jobId = randomUUID()
      const start = Date.now() + 2_000
      const lasts = 5_000
      const window = { start: new Date(start).toISOString(), end: new Date(start + lasts).toISOString() }
      const call = { methodName: 'rollCertificate', payload: { window }, responseTimeoutInSeconds: 30 }
      await azure.jobs.scheduleDeviceMethod(jobId, fleet.condition('north'), call, new Date(), 300)
      const reports = await Promise.all(rolled)

      expect(new Set(reports.map(({ newThumbprint }) => newThumbprint)).size).toBe(50)
      expect(begun).toHaveLength(50)
      expect(Math.min(...begun)).toBeGreaterThanOrEqual(start)
      // Fifty instants by chance: a fifth of the window without any of them happens once in 14,000 times for each.
      const fifths = new Set(begun.map((at) => Math.min(4, Math.floor((5 * (at - start)) / lasts))))
      expect(fifths.size).toBeGreaterThanOrEqual(4)
      expect(await ended(azure, jobId)).toMatchObject({
        status: 'completed',
        deviceJobStatistics: { deviceCount: 50, succeededCount: 50, failedCount: 0 },
      })
      const results = await resultsOf(azure, jobId)
      expect(results.map(({ deviceId }) => deviceId)).toEqual(fleet.at('north'))
      for (const { outcome } of results)
        expect(outcome?.deviceMethodResponse).toMatchObject({
          status: 200,
          payload: { accepted: true, window },
        })
    })

    it('tells of each device that could not be reached, and goes on with the others', async () => {
      const fleet = await createFleet(createAzure, 'r3c', { north: 3 })
      const { azure } = fleet
      const [away = '', ...here] = fleet.at('north')
      await fleet.agent(away).stop()
      const registered = here.map((device) => next(fleet.agent(device), 'registered'))

      const jobId = randomUUID()
      const call = { methodName: 'reprovision', payload: null, responseTimeoutInSeconds: 30 }
      await azure.jobs.scheduleDeviceMethod(jobId, fleet.condition('north'), call, new Date(), 300)
      await Promise.all(registered)
      expect(await ended(azure, jobId)).toMatchObject({
        deviceJobStatistics: { deviceCount: 3, succeededCount: 2, failedCount: 1 },
      })
      const failed = (await resultsOf(azure, jobId)).filter(({ status }) => status === 'failed')
      expect(failed).toMatchObject([{ deviceId: away, error: { code: expect.any(String) as string } }])
    })

    it('gives up on what is not done within the maximum execution time', async () => {
      const fleet = await createFleet(
        createAzure,
        'r3d',
        { north: 2 },
        { stall: () => new Promise(() => undefined) },
      )
      const { azure } = fleet
      const jobId = randomUUID()
      const call = { methodName: 'stall', payload: null, responseTimeoutInSeconds: 30 }
      await azure.jobs.scheduleDeviceMethod(jobId, fleet.condition('north'), call, new Date(), 1)
      expect(await ended(azure, jobId)).toMatchObject({
        status: 'failed',
        deviceJobStatistics: { deviceCount: 2, succeededCount: 0, failedCount: 2 },
      })
      for (const device of fleet.at('north'))
        expect(fleet.agent(device).status().connection).toBe('connected')
    })
  },
  { authorities: true },
)

/** Starts so many agents for each site, under one root, and tags their twins. */
async function createFleet(
  createAzure: CreateAzure,
  prefix: string,
  sites: Readonly<Record<string, number>>,
  methods: MethodTable = {},
): Promise<Fleet> {
  const azure = await createAzure()
  const fleetName = azure.name(prefix)
  const root = await TestAuthority.createRoot({ commonName: `${fleetName} root` })
  await azure.addVerified(`${fleetName}-root`, root)
  await azure.putGroup({ enrollmentGroupId: fleetName, roots: { primary: `${fleetName}-root` } })
  const agents = new Map<string, DeviceAgent>()
  const names = new Map<string, readonly string[]>()
  for (const [site, count] of Object.entries(sites)) {
    const devices = Array.from(
      { length: count },
      (_, n) => `${fleetName}-${site}-${String(n).padStart(2, '0')}`,
    )
    names.set(site, devices)
    await Promise.all(
      devices.map(async (device) => {
        const agent = await azure.startAgent(device, { authority: root }, { methods })
        await agent.connected()
        await azure.registry.updateTwin(device, { tags: { fleet: fleetName, site } }, '*')
        agents.set(device, agent)
      }),
    )
  }
  return {
    azure,
    condition: (site) => `tags.fleet = '${fleetName}' AND tags.site = '${site}'`,
    at: (site) => names.get(site) ?? [],
    agent: (device) => {
      const agent = agents.get(device)
      if (agent === undefined) throw new Error(`There is no agent "${device}".`)
      return agent
    },
  }
}

async function statusOf(azure: Azure, jobId: string): Promise<Job> {
  const answer: { readonly jobStatus: unknown } = await azure.jobs.getJob(jobId)
  return answer.jobStatus as Job
}

/** Asks for the job until it is over. */
async function ended(azure: Azure, jobId: string): Promise<Job> {
  return vi.waitUntil(
    async () => {
      const job = await statusOf(azure, jobId)
      return ['completed', 'failed', 'cancelled'].includes(job.status) ? job : undefined
    },
    { timeout: 25_000, interval: 20 },
  )
}

/** What the job has done on each device, by name. */
async function resultsOf({ registry }: Azure, jobId: string): Promise<readonly DeviceResult[]> {
  const query = registry.createQuery(`SELECT * FROM devices.jobs WHERE devices.jobs.jobId = '${jobId}'`)
  const results: DeviceResult[] = []
  while (query.hasMoreResults) {
    const { result } = (await query.nextAsTwin()) as unknown as { readonly result: readonly DeviceResult[] }
    results.push(...result)
  }
  return results.sort((one, other) => one.deviceId.localeCompare(other.deviceId))
}
