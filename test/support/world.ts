import type { EventEmitter } from 'node:events'
import { afterAll, onTestFinished } from 'vitest'
import {
  DeviceAgent,
  dpsOverMqtt,
  functionIssuer,
  hubOverMqtt,
  type DeviceAgentEvents,
  type DeviceAgentOptions,
  type IssueRequest,
  type PolicyOptions,
} from 'leafkeeper'
import { SimulatedCloud, TestAuthority, type CloudOptions, type IssuedLeaf } from 'leafkeeper-sim'
import { createTestHsm, type TestHsm } from './softhsm.ts'

/** Short delays, so that retries take no time; the schedule itself is tested on the machine alone. */
export const quickPolicy: PolicyOptions = {
  retry: { baseMs: 20, capMs: 200 },
  busy: { baseMs: 20, capMs: 200 },
  lost: { baseMs: 20, capMs: 200 },
  refusal: { baseMs: 60_000, capMs: 60_000 },
  debounce: { baseMs: 20, capMs: 200 },
}

/** A real token, a simulated cloud and a test authority: all that a device needs. */
export interface World {
  readonly hsm: TestHsm
  readonly cloud: SimulatedCloud
  readonly root: TestAuthority
  /** Leaves the authority has issued, in order. */
  readonly issued: IssuedLeaf[]
  /** Starts an agent that is stopped when the test ends. */
  startAgent(registrationId: string, options?: Partial<DeviceAgentOptions>): Promise<DeviceAgent>
  /** What an agent is started with. */
  agentOptions(registrationId: string, options?: Partial<DeviceAgentOptions>): DeviceAgentOptions
  /** Signs a request, and remembers the leaf. */
  issue: (request: IssueRequest) => Promise<string>
  /** Puts leaves into the individual enrollment of a device. */
  enroll(registrationId: string, primary?: IssuedLeaf, secondary?: IssuedLeaf): void
  /** The nth leaf that was issued; the first is 0. */
  leaf(index: number): IssuedLeaf
}

let sharedHsm: TestHsm | undefined

// Not on the process's exit: vitest ends its processes by a signal.
afterAll(() => sharedHsm?.remove())

/** The token that the tests of a file share, as SoftHSM is shared by a process. */
export function testHsm(): TestHsm {
  sharedHsm ??= createTestHsm()
  return sharedHsm
}

/** Makes a world for one test. */
export async function createWorld(cloudOptions: CloudOptions = {}): Promise<World> {
  const hsm = testHsm()
  const cloud = await SimulatedCloud.start(cloudOptions)
  onTestFinished(() => cloud.close())
  const root = await TestAuthority.createRoot({ commonName: 'root' })
  const issued: IssuedLeaf[] = []
  const network = { trustedAuthorities: cloud.trustedAuthorities, connectTo: cloud.connectTo }
  const { provisioningHost, idScope } = cloud
  const world: World = {
    hsm,
    cloud,
    root,
    issued,
    agentOptions: (registrationId, options = {}) => ({
      registrationId,
      token: { module: hsm.module, token: { label: hsm.label }, pin: { callback: () => hsm.pin } },
      provisioning: dpsOverMqtt({ provisioningHost, idScope, ...network }),
      hub: hubOverMqtt(network),
      issuer: functionIssuer('test authority', (request) => world.issue(request)),
      policy: quickPolicy,
      ...options,
    }),
    async startAgent(registrationId, options) {
      const agent = await DeviceAgent.start(world.agentOptions(registrationId, options))
      onTestFinished(() => agent.stop())
      return agent
    },
    async issue({ csr }) {
      const leaf = await root.issueLeaf({ csr })
      issued.push(leaf)
      return leaf.chain
    },
    enroll(registrationId, primary, secondary) {
      cloud.dps.enrollments.put({
        registrationId,
        attestation: {
          ...(primary === undefined ? {} : { primary: primary.certificate }),
          ...(secondary === undefined ? {} : { secondary: secondary.certificate }),
        },
      })
    },
    leaf(index) {
      const leaf = issued[index]
      if (leaf === undefined) throw new Error(`Only ${issued.length} leaves were issued, not ${index + 1}.`)
      return leaf
    },
  }
  return world
}

/** A world in which every new certificate is put into the individual enrollment at once, beside the one before it. */
export async function createEnrollingWorld(
  registrationId: string,
  cloudOptions?: CloudOptions,
): Promise<World> {
  const world = await createWorld(cloudOptions)
  const { issue } = world
  world.issue = async (request) => {
    const chain = await issue(request)
    const [newest, previous] = [...world.issued].reverse()
    world.enroll(registrationId, newest, previous)
    return chain
  }
  return world
}

/** The first event of an agent from now on that fits. */
export async function next<Name extends keyof DeviceAgentEvents>(
  agent: DeviceAgent,
  name: Name,
  fits: (...args: DeviceAgentEvents[Name]) => boolean = () => true,
): Promise<DeviceAgentEvents[Name]> {
  // One listener from now until it fits: two events of one tick would both be seen.
  return new Promise((resolve) => {
    // Node's types cannot tell that a listener fits a name which is itself a parameter.
    const untyped: EventEmitter = agent
    const listener = (...args: DeviceAgentEvents[Name]): void => {
      if (!fits(...args)) return
      untyped.off(name, listener)
      resolve(args)
    }
    untyped.on(name, listener)
  })
}

/** Resolves when the agent's roll is in this phase, at once when it already is. */
export async function rollPhase(agent: DeviceAgent, phase: string): Promise<void> {
  if (agent.state.roll.phase === phase) return
  await next(agent, 'transition', () => agent.state.roll.phase === phase)
}

/** Bodies of different messages that hubs have received from a device. */
export function receivedBodies(cloud: SimulatedCloud, deviceId: string): Set<string> {
  return new Set(
    cloud.hubs.flatMap(({ messages }) =>
      messages.filter((message) => message.deviceId === deviceId).map(({ body }) => body.toString()),
    ),
  )
}

/** The thumbprint in a device's record at its hub. */
export function hubThumbprint(cloud: SimulatedCloud, agent: DeviceAgent): string | null {
  const hub = agent.state.assignment?.hub
  const record = hub === undefined ? undefined : cloud.hub(hub).registry.get(agent.state.commonName)
  return record?.authentication.type === 'selfSigned'
    ? record.authentication.x509Thumbprint.primaryThumbprint
    : null
}
