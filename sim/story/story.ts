import { once } from 'node:events'
import { join } from 'node:path'
import { DeviceAgent, dpsOverMqtt, functionIssuer, hubOverMqtt } from 'leafkeeper'
import { SimulatedCloud } from '../cloud.ts'
import type { SimulatedHub } from '../hub/hub.ts'
import { TestAuthority } from '../pki/test-authority.ts'
import { freshToken, type FreshToken } from './fresh-token.ts'
import type { Progress } from './progress.ts'
import type { StorySummary } from './summary.ts'
import { TelemetrySource } from './telemetry-source.ts'

const registrationId = 'gateway-7'

/** Where a story keeps its token and journal while it runs; removed at its end. */
export interface StoryOptions {
  /** Default `.leafkeeper` in the current folder. */
  readonly stateFolder?: string
  /** Time between two messages, in milliseconds. Default 10: a hundred messages a second. */
  readonly messageIntervalMs?: number
}

/**
 * The main job from end to end: a device with its key in SoftHSM provisions, connects, sends telemetry, rolls its
 * certificate, is refused as unauthorized and comes back, and registers again when a direct method says so.
 */
export async function tellStory(progress: Progress, options: StoryOptions = {}): Promise<StorySummary> {
  progress.step('Making a SoftHSM token')
  const token = await freshToken('story', options.stateFolder)
  progress.detail(`module ${token.module}, tokens in ${token.folder}`)
  const ends: (() => Promise<unknown>)[] = [() => token.remove()]
  try {
    return await tell(progress, token, options.messageIntervalMs ?? 10, ends)
  } finally {
    for (const end of ends.reverse()) await end()
  }
}

async function tell(
  progress: Progress,
  token: FreshToken,
  messageIntervalMs: number,
  ends: (() => Promise<unknown>)[],
): Promise<StorySummary> {
  progress.step('Starting a local Azure: DPS, two hubs and a certificate authority')
  const cloud = await SimulatedCloud.start()
  ends.push(() => cloud.close())
  const authority = await TestAuthority.createRoot({ commonName: 'story root' })
  progress.detail(`DPS and hubs at ${cloud.address}, id scope ${cloud.idScope}`)

  progress.step('Generating a key inside the HSM, and provisioning through DPS')
  const network = { trustedAuthorities: cloud.trustedAuthorities, connectTo: cloud.connectTo }
  const certificates: string[] = []
  const agent = await DeviceAgent.start({
    registrationId,
    token: token.options,
    provisioning: dpsOverMqtt({
      provisioningHost: cloud.provisioningHost,
      idScope: cloud.idScope,
      ...network,
    }),
    hub: hubOverMqtt(network),
    // The owner's pipeline: sign the request, put the certificate into the enrollment, hand it to the device.
    issuer: functionIssuer('story authority', async ({ csr }) => {
      const { certificate, chain } = await authority.issueLeaf({ csr })
      certificates.push(certificate)
      const [primary, secondary] = certificates.slice(-2)
      cloud.dps.enrollments.put({
        registrationId,
        attestation: {
          ...(primary === undefined ? {} : { primary }),
          ...(secondary === undefined ? {} : { secondary }),
        },
      })
      return chain
    }),
    stateFolder: join(token.folder, 'agent'),
    policy: { debounce: { baseMs: 200, capMs: 2_000 }, retry: { baseMs: 200, capMs: 2_000 } },
  })
  ends.push(() => agent.stop())
  await agent.connected()
  const first = requireActive(agent)
  const key = await agent.describeKey()
  progress.detail(`private key ${key.uri}`)
  progress.detail(
    `sensitive: ${yesNo(key.sensitive)}, extractable: ${yesNo(key.extractable)}: it cannot leave the HSM`,
  )
  progress.detail(`certificate CN=${first.commonName}, SHA-256 ${first.thumbprint}`)
  progress.detail(`connected to ${agent.state.assignment?.hub ?? '?'}`)

  progress.step(`Sending telemetry, ${Math.round(1000 / messageIntervalMs)} messages a second`)
  const telemetry = new TelemetrySource(agent, messageIntervalMs)
  ends.push(() => telemetry.stop())
  await received(cloud, 50)

  progress.step('Rolling the certificate under the same common name, make-before-break')
  const report = await agent.roll()
  progress.detail(`old SHA-256 ${report.oldThumbprint ?? '?'}`)
  progress.detail(`new SHA-256 ${report.newThumbprint}`)
  progress.detail(`without a usable connection for ${milliseconds(report.blackoutMs)}`)
  await received(cloud, 50)

  progress.step('Deleting the device from its hub: unauthorized, so it goes back to DPS by itself')
  const cameBack = await comeBack(cloud, agent)
  progress.detail(cameBack.refusal)
  progress.detail(`registered again, connected to ${agent.state.assignment?.hub ?? '?'}`)
  await received(cloud, 50)

  progress.step('Calling the direct method reprovision')
  const registered = cloud.waitFor('registration', ({ outcome }) => outcome === 'assigned')
  const answer = await hubOf(cloud, agent).invokeMethod(registrationId, { methodName: 'reprovision' })
  const registration = await registered
  progress.detail(`answered ${answer.status}, then registered: ${registration.substatus ?? '?'}`)
  await received(cloud, 50)

  progress.step('Counting')
  await telemetry.stop()
  const ids = new Set(cloud.hubs.flatMap(({ messages }) => messages.map((m) => m.systemProperties.messageId)))
  const authentication = hubOf(cloud, agent).registry.get(registrationId)?.authentication
  const newThumbprint =
    authentication?.type === 'selfSigned' ? (authentication.x509Thumbprint.primaryThumbprint ?? '') : ''
  const summary: StorySummary = {
    commonName: requireActive(agent).commonName,
    oldThumbprint: first.thumbprint,
    newThumbprint,
    registrations: cloud.dps.attempts.filter(({ outcome }) => outcome === 'assigned').length,
    unauthorizedSeen: cameBack.unauthorized,
    reprovisionedOnUnauthorized: cameBack.registered,
    reprovisionedOnMethod: answer.status === 200 && registration.outcome === 'assigned',
    rolled: report.newThumbprint === newThumbprint && report.oldThumbprint === first.thumbprint,
    messagesSent: telemetry.sent,
    messagesReceived: ids.size,
    messagesLost: telemetry.sent - ids.size,
    blackoutMs: report.blackoutMs ?? 0,
    keyExtractable: (await agent.describeKey()).extractable,
  }
  progress.done()
  return summary
}

/** The hub forgets the device, as an owner would make it after a breach: the device has to find its way back. */
async function comeBack(
  cloud: SimulatedCloud,
  agent: DeviceAgent,
): Promise<{ unauthorized: boolean; registered: boolean; refusal: string }> {
  const refused = cloud.waitFor('connectRefused', ({ deviceId }) => deviceId === registrationId)
  const registered = cloud.waitFor('registration', ({ outcome }) => outcome === 'assigned')
  const connected = cloud.waitFor('deviceConnected', ({ deviceId }) => deviceId === registrationId)
  const seenByAgent = once(agent, 'unauthorized')
  const hub = hubOf(cloud, agent)
  hub.registry.delete(registrationId)
  const refusal = await refused
  await seenByAgent
  const registration = await registered
  await connected
  await agent.connected()
  return {
    unauthorized: refusal.code === 5,
    registered: registration.outcome === 'assigned',
    refusal: `the hub refused the connection: CONNACK ${refusal.code}, ${refusal.reason}`,
  }
}

/** Waits until the hubs have received so many more messages. */
async function received(cloud: SimulatedCloud, count: number): Promise<void> {
  for (let left = count; left > 0; left -= 1) await cloud.waitFor('telemetry')
}

function hubOf(cloud: SimulatedCloud, agent: DeviceAgent): SimulatedHub {
  const { assignment } = agent.state
  if (assignment === null) throw new Error('The device is assigned to no hub.')
  return cloud.hub(assignment.hub)
}

function requireActive(agent: DeviceAgent): { commonName: string; thumbprint: string } {
  const { active } = agent.status()
  if (active === null) throw new Error('The device has no certificate.')
  return active
}

function yesNo(value: boolean): string {
  return value ? 'yes' : 'no'
}

function milliseconds(value: number | null): string {
  return value === null ? 'no time' : `${value.toFixed(1)} ms`
}
