import { once } from 'node:events'
import { relative } from 'node:path'
import type { DeviceAgent } from 'leafkeeper'
import { temporaryToken, type TemporaryToken } from 'leafkeeper/testing'
import { SimulatedCloud } from '../cloud.ts'
import type { SimulatedHub } from '../hub/hub.ts'
import { startDevice } from '../testing/start-device.ts'
import { CleanUp } from './clean-up.ts'
import type { Progress } from './progress.ts'
import type { StorySummary } from './summary.ts'
import { TelemetrySource } from './telemetry-source.ts'
import { within } from './within.ts'

const registrationId = 'gateway-7'

/** Where a story keeps its token and journal while it runs; removed at its end. */
export interface StoryOptions {
  /** Default `.leafkeeper` in the current folder. */
  readonly stateFolder?: string
  /** Time between two messages, in milliseconds. Default 10: a hundred messages a second. */
  readonly messageIntervalMs?: number
}

/** What every part of a story needs. */
interface Scene {
  readonly progress: Progress
  readonly cleanUp: CleanUp
  readonly messageIntervalMs: number
}

/**
 * The main job from end to end: a device with its key in SoftHSM provisions, connects, sends telemetry, rolls its
 * certificate, is refused as unauthorized and comes back, and registers again when a direct method says so. Nothing
 * is waited for longer than half a minute.
 */
export async function tellStory(progress: Progress, options: StoryOptions = {}): Promise<StorySummary> {
  progress.step('Making a SoftHSM token')
  const token = await temporaryToken({
    label: 'leafkeeper-story',
    parent: options.stateFolder ?? '.leafkeeper',
  })
  progress.detail(`module ${token.module}`)
  progress.detail(`tokens in ${relative('.', token.folder)}, removed at the end`)
  const cleanUp = new CleanUp()
  cleanUp.add('the token to be removed', () => token.remove())
  return cleanUp.after(() =>
    tell({ progress, cleanUp, messageIntervalMs: options.messageIntervalMs ?? 10 }, token),
  )
}

async function tell(scene: Scene, token: TemporaryToken): Promise<StorySummary> {
  const { progress, cleanUp } = scene
  progress.step('Starting a local Azure: DPS, two hubs and a certificate authority')
  const cloud = await within('the local Azure to start', SimulatedCloud.start())
  cleanUp.add('the local Azure to stop', () => cloud.close())
  progress.detail(`DPS and hubs at ${cloud.address}, id scope ${cloud.idScope}`)

  progress.step('Generating a key inside the HSM, and provisioning through DPS')
  const agent = await within('the agent to start', startDevice(cloud, token, registrationId))
  cleanUp.add('the agent to stop', () => agent.stop())
  try {
    return await live(scene, cloud, agent)
  } catch (error) {
    const { connection, roll, lastError } = agent.status()
    progress.detail(`the device is ${connection}, its roll ${roll}`)
    if (lastError !== null) progress.detail(`its last error: ${lastError.code}, ${lastError.message}`)
    throw error
  }
}

async function live(scene: Scene, cloud: SimulatedCloud, agent: DeviceAgent): Promise<StorySummary> {
  const { progress, cleanUp, messageIntervalMs } = scene
  await within('the device to connect', agent.connected())
  const first = requireActive(agent)
  const key = await agent.describeKey()
  progress.detail(`private key in the token ${agent.status().token.label}, and used only there`)
  progress.detail(
    `sensitive: ${yesNo(key.sensitive)}, extractable: ${yesNo(key.extractable)}: ` +
      `it ${key.sensitive && !key.extractable ? 'cannot' : 'can'} leave the HSM`,
  )
  progress.detail(`certificate CN=${first.commonName}, SHA-256 ${shortened(first.thumbprint)}`)
  progress.detail(`connected to ${agent.state.assignment?.hub ?? '?'}`)

  progress.step(`Sending telemetry, ${Math.round(1000 / messageIntervalMs)} messages a second`)
  const telemetry = new TelemetrySource(agent, messageIntervalMs)
  // The agent first: it rejects what it has not delivered, which the source would wait for in vain.
  cleanUp.add('the telemetry to stop', () => agent.stop().finally(() => telemetry.stop()))
  await received(cloud, 50)

  progress.step('Rolling the certificate under the same common name, make-before-break')
  const report = await within('the certificate to be rolled', agent.roll())
  progress.detail(`old SHA-256 ${shortened(report.oldThumbprint ?? '?')}`)
  progress.detail(`new SHA-256 ${shortened(report.newThumbprint)}`)
  progress.detail(`without a usable connection: ${milliseconds(report.blackoutMs)}`)
  await received(cloud, 50)

  progress.step('Deleting the device at its hub: refused, it goes back to DPS by itself')
  const cameBack = await comeBack(cloud, agent)
  progress.detail(cameBack.refusal)
  progress.detail(`registered again, connected to ${agent.state.assignment?.hub ?? '?'}`)
  await received(cloud, 50)

  progress.step('Calling the direct method reprovision')
  const registered = cloud.waitFor('registration', ({ outcome }) => outcome === 'assigned')
  const invoked = hubOf(cloud, agent).invokeMethod(registrationId, { methodName: 'reprovision' })
  const answer = await within('the answer to the direct method', invoked)
  const registration = await within('the registration that the direct method asked for', registered)
  progress.detail(`answered ${answer.status}, then registered: ${registration.substatus ?? '?'}`)
  await received(cloud, 50)

  progress.step('Counting')
  await within('the last messages to be acknowledged', telemetry.stop())
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
    messagesRejected: telemetry.failed,
    messagesLost: telemetry.sent - ids.size,
    blackoutMs: report.blackoutMs,
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
  const refusal = await within('the hub to refuse the device', refused)
  await within('the device to see that it is unauthorized', seenByAgent)
  const registration = await within('the device to register again', registered)
  await within('the hub to accept the device again', connected)
  await within('the device to connect again', agent.connected())
  return {
    unauthorized: refusal.code === 5,
    registered: registration.outcome === 'assigned',
    refusal: `the hub refused the connection: CONNACK ${refusal.code}, ${refusal.reason}`,
  }
}

/** Waits until the hubs have received so many more messages. */
async function received(cloud: SimulatedCloud, count: number): Promise<void> {
  let left = count
  const arrived = cloud.waitFor('telemetry', () => {
    left -= 1
    return left === 0
  })
  await within(`${count} messages to arrive`, arrived)
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

/** As much of a thumbprint as tells it from another one on a line of 80 columns. */
function shortened(thumbprint: string): string {
  return `${thumbprint.slice(0, 16)}…`
}

function milliseconds(value: number | null): string {
  return value === null ? 'not measured' : `${value.toFixed(1)} ms`
}
