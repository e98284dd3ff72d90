import { DeviceAgent, manualIssuer } from 'leafkeeper'
import { describe, expect, it, onTestFinished } from 'vitest'
import { keyIdOf } from '../../src/hsm/object-name.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createWorld, hubThumbprint, next, rollPhase, type World } from '../support/world.ts'

interface Requested {
  readonly requestId: string
  readonly generation: number
  readonly csr: string
}

/** A device without a certificate that is given one by hand, enrolled by its name. */
async function bootstrapped(world: World, name: string, stateFolder: string): Promise<DeviceAgent> {
  const agent = await world.startAgent(name, { issuer: manualIssuer(), stateFolder })
  const { csr } = await agent.createCertificateRequest()
  await agent.installCertificate(await signed(world, name, csr))
  await agent.connected()
  return agent
}

/** What a back end does with a request: has it signed, and puts the certificate into the enrollment beside the old one. */
async function signed(world: World, name: string, csr: string): Promise<string> {
  const leaf = await world.root.issueLeaf({ csr })
  world.issued.push(leaf)
  world.enroll(name, leaf, world.issued.at(-2))
  return leaf.chain
}

describe('certificates that are brought to the agent', () => {
  it('by direct methods, the whole pipeline through the hub: once over a restart, once with wrong ones before', async () => {
    const name = 'device-by-methods'
    const world = await createWorld()
    const stateFolder = await temporaryFolder()
    const first = await bootstrapped(world, name, stateFolder)
    const hub = first.state.assignment?.hub ?? ''
    const call = async (
      methodName: string,
      payload: unknown,
    ): Promise<{ status: number; payload: unknown }> =>
      world.cloud.hub(hub).invokeMethod(name, { methodName, payload })
    const request = async (payload: unknown): Promise<Requested> => {
      const answer = await call('createCertificateRequest', payload)
      expect(answer.status).toBe(200)
      return answer.payload as Requested
    }

    // A request that waits outlives the process, with its key.
    const asked = await request({})
    expect(asked.generation).toBe(2)
    await first.stop()
    const agent = await DeviceAgent.start(world.agentOptions(name, { issuer: manualIssuer(), stateFolder }))
    onTestFinished(() => agent.stop())
    await agent.connected()
    const { generation, requestId } = asked
    expect(await request({})).toMatchObject({ generation, requestId })
    const rolled = next(agent, 'rolled')
    const chain = await signed(world, name, asked.csr)
    expect(await call('installCertificate', { chain })).toMatchObject({
      status: 200,
      payload: { accepted: true, generation: 2, thumbprint: world.leaf(1).thumbprint },
    })
    await rolled
    expect(hubThumbprint(world.cloud, agent)).toBe(world.leaf(1).thumbprint)

    // Nothing waits now; and what is wrong is refused without an end to the roll that waits.
    expect(await call('installCertificate', { chain })).toMatchObject({
      status: 409,
      payload: { code: 'AGENT_STATE_INVALID' },
    })
    const breach = await request({ mode: 'breach', keyType: 'EC-P384' })
    const foreign = await world.root.issueLeaf({ csr: asked.csr })
    expect(await call('installCertificate', { chain: foreign.chain })).toMatchObject({
      status: 400,
      payload: { code: 'CERT_KEY_MISMATCH' },
    })
    expect(await call('installCertificate', { chain })).toMatchObject({
      status: 400,
      payload: { code: 'CERT_NOT_NEW' },
    })
    expect(agent.status()).toMatchObject({ roll: 'requesting', active: { generation: 2 } })
    const gone = next(agent, 'retired', ({ generation }) => generation === 2)
    const right = await signed(world, name, breach.csr)
    expect(await call('installCertificate', { chain: right })).toMatchObject({ status: 200 })
    await gone
    expect(agent.status()).toMatchObject({ active: { generation: breach.generation } })
    expect(world.hsm.objects(keyIdOf(name, 2))).toEqual([])
  })

  it('although its issuer would take longer', async () => {
    const name = 'device-impatient'
    const world = await createWorld()
    const { issue } = world
    let slow = false
    world.issue = async (request) => {
      if (slow) return new Promise(() => undefined)
      const chain = await issue(request)
      world.enroll(name, world.leaf(0))
      return chain
    }
    const agent = await world.startAgent(name)
    await agent.connected()
    slow = true
    const rolled = agent.roll()
    await rollPhase(agent, 'requesting')
    const { csr } = await agent.createCertificateRequest()
    await agent.installCertificate(await signed(world, name, csr))
    expect(await rolled).toMatchObject({ generation: 2, newThumbprint: world.leaf(1).thumbprint })
  })

  it('says what there is to wait for, and what is not', async () => {
    const name = 'device-idle'
    const world = await createWorld()
    const agent = await bootstrapped(world, name, await temporaryFolder())
    await rollPhase(agent, 'idle')
    await expect(agent.installCertificate(world.leaf(0).chain)).rejects.toMatchObject({
      code: 'AGENT_STATE_INVALID',
      message: expect.stringContaining('createCertificateRequest') as unknown,
    })
    await agent.stop()
    await expect(agent.createCertificateRequest()).rejects.toMatchObject({ code: 'AGENT_STATE_INVALID' })
    await expect(agent.installCertificate('')).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
  })
})
