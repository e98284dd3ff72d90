import { X509Certificate } from 'node:crypto'
import { describe, expect, it } from 'vitest'
import { twinSays } from '../support/twin.ts'
import { createEnrollingWorld, next, rollPhase } from '../support/world.ts'

describe("the device's twin", () => {
  it('says what the agent is, and what became of its roll', async () => {
    const world = await createEnrollingWorld('device-told')
    const agent = await world.startAgent('device-told')
    await agent.connected()
    const { certificate, thumbprint } = world.leaf(0)
    const { serialNumber } = new X509Certificate(certificate)
    const first = await twinSays(world, agent, {
      roll: { phase: 'idle' },
      certificate: {
        generation: 1,
        serial: serialNumber.toLowerCase(),
        thumbprint,
        issuer: expect.stringMatching(/^CN=.*root/) as unknown,
      },
      nextRoll: { mode: 'expiry', because: 'schedule' },
      hsm: { module: world.hsm.module, token: world.hsm.label },
      lastRoll: { result: 'rolled', mode: 'bootstrap', generation: 1 },
    })
    expect(JSON.stringify(first)).not.toContain(world.hsm.pin)
    await agent.roll({ mode: 'breach' })
    await twinSays(world, agent, {
      roll: { phase: 'idle' },
      certificate: { generation: 2, thumbprint: world.leaf(1).thumbprint },
      lastRoll: { result: 'rolled', mode: 'breach', generation: 2 },
    })
  })

  it('says in plain words why a roll does not go on', async () => {
    const world = await createEnrollingWorld('device-refused')
    const agent = await world.startAgent('device-refused')
    await agent.connected()
    world.issue = async ({ csr }) => (await world.root.issueLeaf({ csr })).chain
    agent.beginRoll({})
    await rollPhase(agent, 'staged')
    const report = await twinSays(world, agent, { roll: { phase: 'staged', code: 'DPS_UNAUTHORIZED' } })
    expect(report).toMatchObject({
      roll: { generation: 2, advice: expect.stringMatching(/enrollment/i) as unknown },
    })
  })

  it('names a window, in which the device rolls', async () => {
    const world = await createEnrollingWorld('device-window')
    const agent = await world.startAgent('device-window')
    await agent.connected()
    await rollPhase(agent, 'idle')
    const rolled = next(agent, 'rolled')
    const start = new Date(agent.state.generations[0]?.certificate?.notBefore ?? 0).getTime() + 1_000
    const rollWindow = {
      start: new Date(start).toISOString(),
      end: new Date(start).toISOString(),
      mode: 'breach',
    }
    const hub = world.cloud.hub(agent.state.assignment?.hub ?? '')
    hub.writeTwin('device-window', { desired: { leafkeeper: { rollWindow } } }, 'merge')
    expect((await rolled)[0]).toMatchObject({ generation: 2, mode: 'breach' })
    expect(agent.state.rollWindow).toMatchObject({ served: true })
  })

  it('is left alone where the agent is told so', async () => {
    const world = await createEnrollingWorld('device-silent')
    const agent = await world.startAgent('device-silent', { twin: false })
    await agent.connected()
    await agent.roll()
    const hub = world.cloud.hub(agent.state.assignment?.hub ?? '')
    expect(hub.twin('device-silent').reported).not.toHaveProperty('leafkeeper')
  })
})
