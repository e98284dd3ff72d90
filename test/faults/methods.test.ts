import { describe, expect, it } from 'vitest'
import type { DeviceAgent } from 'leafkeeper'
import { createEnrollingWorld, next, rollPhase, type World } from '../support/world.ts'

interface Device {
  readonly world: World
  readonly agent: DeviceAgent
  /** Calls a method of the device through its hub. */
  readonly call: (methodName: string, payload?: unknown) => Promise<{ readonly status: number }>
  /** From now on certificates are issued when this is called. */
  readonly holdIssuer: () => () => void
}

async function device(registrationId: string): Promise<Device> {
  const world = await createEnrollingWorld(registrationId)
  const agent = await world.startAgent(registrationId)
  await agent.connected()
  const { issue } = world
  return {
    world,
    agent,
    call: (methodName, payload = null) =>
      world.cloud
        .hub(agent.state.assignment?.hub ?? '')
        .invokeMethod(registrationId, { methodName, payload }),
    holdIssuer() {
      let release: () => void = () => undefined
      const held = new Promise<void>((resolve) => (release = resolve))
      world.issue = async (request) => {
        await held
        return issue(request)
      }
      return release
    },
  }
}

/** Registrations that were under way together at any time. */
function mostRegistrationsTogether(agent: DeviceAgent): { most: number } {
  const seen = { most: 0 }
  agent.on('transition', () => {
    const { connection, roll } = agent.state
    const beside = connection.phase === 'connected' && typeof connection.registering?.operation === 'number'
    const together = [connection.phase === 'provisioning', beside, roll.phase === 'proving'].filter(Boolean)
    seen.most = Math.max(seen.most, together.length)
  })
  return seen
}

describe('a direct method during a roll', () => {
  it('reprovision while the issuer works: registers with the old leaf, and the roll goes on', async () => {
    const { world, agent, call, holdIssuer } = await device('reprovision-requesting')
    const release = holdIssuer()
    const rolled = agent.roll()
    await rollPhase(agent, 'requesting')
    const registered = next(agent, 'registered')
    expect(await call('reprovision')).toMatchObject({ status: 200 })
    expect((await registered)[0].generation).toBe(1)
    release()
    expect((await rolled).newThumbprint).toBe(world.leaf(1).thumbprint)
  })

  it('reprovision while the new leaf is proved: the proof is the registration', async () => {
    const { world, agent, call } = await device('reprovision-proving')
    const seen = mostRegistrationsTogether(agent)
    world.cloud.faults.set('dps-latency', { ms: 100 })
    const rolled = agent.roll()
    await rollPhase(agent, 'proving')
    expect(await call('reprovision')).toMatchObject({ status: 200 })
    expect((await rolled).newThumbprint).toBe(world.leaf(1).thumbprint)
    expect(seen.most).toBe(1)
  })

  it('rollCertificate: is refused with 409, except for a breach, which overtakes', async () => {
    const { world, agent, call, holdIssuer } = await device('roll-rolling')
    const release = holdIssuer()
    const overtaken = expect(agent.roll()).rejects.toMatchObject({ code: 'AGENT_STATE_INVALID' })
    await rollPhase(agent, 'requesting')
    expect(await call('rollCertificate', { mode: 'expiry' })).toMatchObject({ status: 409 })
    const rolled = next(agent, 'rolled')
    expect(await call('rollCertificate', { mode: 'breach' })).toMatchObject({ status: 200 })
    await overtaken
    release()
    const [{ mode, newThumbprint }] = await rolled
    expect(mode).toBe('breach')
    expect(world.issued.map(({ thumbprint }) => thumbprint)).toContain(newThumbprint)
    await agent.connected()
  })
})

describe('a roll during a direct method', () => {
  it('rollCertificate while the device registers on reprovision: both are done, one registration at a time', async () => {
    const { world, agent, call } = await device('roll-registering')
    const seen = mostRegistrationsTogether(agent)
    world.cloud.faults.set('dps-latency', { ms: 100 })
    const registered = next(agent, 'registered', ({ generation }) => generation === 1)
    const rolled = next(agent, 'rolled')
    expect(await call('reprovision')).toMatchObject({ status: 200 })
    expect(await call('rollCertificate', { mode: 'expiry' })).toMatchObject({ status: 200 })
    await registered
    expect((await rolled)[0].newThumbprint).toBe(world.leaf(1).thumbprint)
    expect(seen.most).toBe(1)
  })
})
