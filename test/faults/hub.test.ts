import { DeviceAgent, functionIssuer, hubOverMqtt } from 'leafkeeper'
import { TestAuthority } from 'leafkeeper-sim'
import { describe, expect, it, onTestFinished } from 'vitest'
import { makeAuthority } from '../transport/support/authority.ts'
import { connack, puback, suback, type WirePacket } from '../transport/support/mqtt-wire.ts'
import { scriptedServer, type ScriptedServer, type Session } from '../transport/support/scripted-server.ts'
import { createEnrollingWorld, next, quickPolicy, rollPhase, testHsm } from '../support/world.ts'

/** A device without DPS whose hub drops the connection so often at one packet, and behaves from then on. */
async function deviceAt(
  name: string,
  drop: (packet: WirePacket, session: Session) => boolean,
  times: number,
): Promise<{ agent: DeviceAgent; hub: ScriptedServer; refusals: string[] }> {
  const authority = await makeAuthority()
  const { key, certificate } = await authority.server(['hub-a.example.net'])
  let left = times
  const hub = await scriptedServer({ key, cert: certificate }, (packet, session) => {
    if (left === 0 || !drop(packet, session)) return false
    left -= 1
    return true
  })
  onTestFinished(() => hub[Symbol.asyncDispose]())
  const root = await TestAuthority.createRoot({ commonName: 'root' })
  const hsm = testHsm()
  const agent = await DeviceAgent.start({
    registrationId: name,
    token: { module: hsm.module, token: { label: hsm.label }, pin: { callback: () => hsm.pin } },
    assignment: { hub: 'hub-a.example.net', deviceId: name },
    hub: hubOverMqtt({
      trustedAuthorities: authority.certificate,
      connectTo: { '*.example.net': `127.0.0.1:${hub.port}` },
    }),
    issuer: functionIssuer('root', async ({ csr }) => (await root.issueLeaf({ csr })).chain),
    policy: quickPolicy,
  })
  onTestFinished(() => agent.stop())
  const refusals: string[] = []
  agent.on('unauthorized', ({ code }) => refusals.push(code))
  return { agent, hub, refusals }
}

/** How a hub answers a packet of the beginning. */
function answerTo(packet: WirePacket): Buffer {
  switch (packet.cmd) {
    case 'connect':
      return connack(0)
    case 'subscribe':
      return suback(packet.id)
    case 'publish':
      return puback(packet.id ?? 0)
    default:
      throw new Error(`no answer to ${packet.cmd}`)
  }
}

const endings: [how: string, end: (session: Session) => void][] = [
  ['closes', ({ socket }) => void socket.end()],
  ['resets', ({ socket }) => void socket.destroy()],
]
const packets = ['connect', 'subscribe', 'publish'] as const

describe.each(packets)('a hub that drops the connection at %s', (cmd) => {
  it.each(endings)(
    'and %s before it has answered: the message arrives on a later connection',
    async (how, end) => {
      const drop = (packet: WirePacket, session: Session): boolean => {
        if (packet.cmd !== cmd) return false
        end(session)
        return true
      }
      const { agent, hub, refusals } = await deviceAt(`drop-${cmd}-${how}`, drop, 3)
      await agent.send({ body: 'once' })
      await agent.connected()
      expect(hub.sessions).toHaveLength(4)
      expect(refusals).toEqual([])
    },
  )

  it('as soon as it has answered: the message arrives, and the device comes back', async () => {
    const drop = (packet: WirePacket, session: Session): boolean => {
      if (packet.cmd !== cmd) return false
      session.socket.end(answerTo(packet))
      return true
    }
    const { agent, hub, refusals } = await deviceAt(`drop-after-${cmd}`, drop, 3)
    for (const body of ['one', 'two', 'three', 'four']) await agent.send({ body })
    await agent.connected()
    // A message may be on its way already when the connection that took the one before it ends.
    expect(hub.sessions.length).toBeGreaterThan(1)
    expect(hub.sessions.length).toBeLessThanOrEqual(4)
    expect(refusals).toEqual([])
  })
})

it('a hub that ends the connection before MQTT begins', async () => {
  const { agent, hub } = await deviceAt('drop-tls', () => false, 0)
  await agent.connected()
  const before = hub.sessions.length
  const again = [hub.nextSession(), hub.nextSession()]
  hub.sessions[before - 1]?.socket.end()
  ;(await again[0])?.socket.destroy()
  await again[1]
  await agent.send({ body: 'here' })
  expect(hub.sessions.length).toBeGreaterThanOrEqual(before + 2)
})

describe('unauthorized', () => {
  it('that comes and goes: each refusal leads to no more than one registration, and the device comes back', async () => {
    const world = await createEnrollingWorld('device-flapping')
    const agent = await world.startAgent('device-flapping')
    await agent.connected()
    const { cloud } = world
    const hub = cloud.hub(agent.state.assignment?.hub ?? '')
    const registrations = cloud.dps.registrationCount('device-flapping')
    let refusals = 0
    agent.on('unauthorized', () => (refusals += 1))
    for (let round = 0; round < 4; round += 1) {
      const back = next(agent, 'connected')
      hub.refuseNext(5)
      cloud.dropConnections()
      await back
    }
    expect(refusals).toBe(4)
    expect(cloud.dps.registrationCount('device-flapping')).toBeLessThanOrEqual(registrations + 4)
    await agent.send({ body: 'still here' })
  })

  it('because the device was deleted in the middle of a roll: it comes back with the old leaf, then rolls', async () => {
    const world = await createEnrollingWorld('device-deleted')
    const { cloud, issue } = world
    let release: () => void = () => undefined
    const agent = await world.startAgent('device-deleted')
    await agent.connected()
    const held = new Promise<void>((resolve) => (release = resolve))
    world.issue = async (request) => {
      await held
      return issue(request)
    }
    const rolled = agent.roll()
    await rollPhase(agent, 'requesting')
    const disconnected = next(agent, 'disconnected')
    const back = next(agent, 'connected')
    cloud.hub(agent.state.assignment?.hub ?? '').registry.delete('device-deleted')
    await disconnected
    expect((await back)[0].generation).toBe(1)
    release()
    expect((await rolled).newThumbprint).toBe(world.leaf(1).thumbprint)
  })
})
