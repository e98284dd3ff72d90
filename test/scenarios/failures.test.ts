import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { DeviceAgent, dpsOverMqtt, functionIssuer, hubOverMqtt, LeafkeeperError, Secret } from 'leafkeeper'
import { describe, expect, it } from 'vitest'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { createEnrollingWorld, createWorld, next, receivedBodies, type World } from '../support/world.ts'

/** Every failure names its cause and the next step, and the identity that worked still works. */
describe('starting', () => {
  const failures: [what: string, code: string, message: RegExp, change: (world: World) => object][] = [
    [
      'without the module',
      'HSM_MODULE_NOT_FOUND',
      /\/nowhere\/module\.so.*Install the module/s,
      (world) => ({ token: { ...world.agentOptions('x').token, module: '/nowhere/module.so' } }),
    ],
    [
      'without the token',
      'HSM_TOKEN_NOT_FOUND',
      /no-such-token.*Insert or initialise/s,
      (world) => ({ token: { ...world.agentOptions('x').token, token: { label: 'no-such-token' } } }),
    ],
    [
      'without a PIN',
      'HSM_PIN_MISSING',
      /LEAFKEEPER_TEST_NO_PIN/,
      (world) => ({ token: { ...world.agentOptions('x').token, pin: { env: 'LEAFKEEPER_TEST_NO_PIN' } } }),
    ],
    [
      'with a bad name',
      'AGENT_CONFIG_INVALID',
      /registrationId/,
      () => ({ registrationId: 'no spaces please' }),
    ],
    [
      'with neither DPS nor a hub',
      'AGENT_CONFIG_INVALID',
      /provisioning, or an assignment/,
      () => ({ provisioning: undefined }),
    ],
  ]

  it.each(failures)('%s fails with %s', async (_what, code, message, change) => {
    const world = await createWorld()
    const options = { ...world.agentOptions('device-f'), ...change(world) }
    const error: unknown = await DeviceAgent.start(options).catch((thrown: unknown) => thrown)
    expect(error).toBeInstanceOf(LeafkeeperError)
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) as unknown })
  })

  it('with a wrong PIN fails at once, tries it once, and the right one still works', async () => {
    const world = await createEnrollingWorld('device-pin')
    const { token } = world.agentOptions('device-pin')
    const wrong = { ...token, pin: { callback: () => new Secret('wrong-pin') } }
    const start = (): Promise<DeviceAgent> =>
      DeviceAgent.start({ ...world.agentOptions('device-pin'), token: wrong })
    for (let again = 0; again < 12; again += 1) {
      const error: unknown = await start().catch((thrown: unknown) => thrown)
      expect(error).toMatchObject({ code: 'HSM_PIN_INCORRECT' })
      expect(String(error)).not.toContain('wrong-pin')
    }
    // A second try of the same PIN would have locked a token that allows ten.
    const agent = await world.startAgent('device-pin')
    await agent.connected()
  })

  it('with a damaged journal names the file, and works again without it', async () => {
    const world = await createEnrollingWorld('device-journal')
    const stateFolder = await temporaryFolder()
    const agent = await world.startAgent('device-journal', { stateFolder })
    await agent.connected()
    const thumbprint = agent.status().active?.thumbprint
    await agent.stop()
    await writeFile(join(stateFolder, 'journal'), 'scribble\nscribble\n')
    await expect(
      DeviceAgent.start(world.agentOptions('device-journal', { stateFolder })),
    ).rejects.toMatchObject({
      code: 'JOURNAL_DAMAGED',
      message: expect.stringContaining(join(stateFolder, 'journal')) as unknown,
    })

    // As the message says: moved away, the agent finds its identity on the token.
    const again = await world.startAgent('device-journal', { stateFolder: await temporaryFolder() })
    await again.connected()
    expect(again.status().active?.thumbprint).toBe(thumbprint)
  })

  it('on an empty token without an issuer says what is missing', async () => {
    const world = await createWorld()
    const { issuer: _none, ...options } = world.agentOptions('device-empty')
    const agent = await DeviceAgent.start(options)
    try {
      await expect(agent.connected()).rejects.toMatchObject({ code: 'HSM_KEY_NOT_FOUND' })
      expect(agent.status().connection).toBe('halted')
    } finally {
      await agent.stop()
    }
  })
})

describe('provisioning', () => {
  it('waits for a DPS that cannot be reached, and says so', async () => {
    const world = await createEnrollingWorld('device-unreachable')
    await world.cloud.pauseListening()
    const agent = await world.startAgent('device-unreachable')
    const [{ error }] = await next(agent, 'problem', ({ during }) => during === 'register')
    expect(error).toMatchObject({ code: 'NETWORK_UNREACHABLE', retryable: true })
    expect(error.message).toMatch(/azure-devices-provisioning\.net.*tried again/s)
    await world.cloud.resumeListening()
    await agent.connected()
  })

  it('tells a refused registration from an unreachable one, and keeps the key', async () => {
    const world = await createWorld()
    const agent = await world.startAgent('device-refused')
    const refused = next(agent, 'transition', ({ to }) => to === 'refused')
    const [{ error }] = await next(agent, 'problem', ({ during }) => during === 'register')
    expect(error).toMatchObject({ code: 'DPS_UNAUTHORIZED', reason: '401002', retryable: false })
    expect(error.message).toContain('enrollment')
    await refused
    expect(agent.status()).toMatchObject({ connection: 'refused', generations: [1] })
    world.enroll('device-refused', world.leaf(0))
    agent.reprovision()
    await agent.connected()
  })

  it('does not trust a server that cannot prove its name', async () => {
    const world = await createEnrollingWorld('device-untrusting')
    const { connectTo, provisioningHost, idScope } = world.cloud
    const agent = await world.startAgent('device-untrusting', {
      provisioning: dpsOverMqtt({ provisioningHost, idScope, connectTo }),
      hub: hubOverMqtt({ connectTo }),
    })
    const [{ error }] = await next(agent, 'problem', ({ during }) => during === 'register')
    expect(error.code).toBe('TLS_SERVER_UNTRUSTED')
    expect(world.cloud.dps.attempts).toEqual([])
  })
})

describe('rolling', () => {
  it('goes on with the old identity while the issuer is down, and completes when it is back', async () => {
    const world = await createEnrollingWorld('device-issuer')
    let up = true
    const agent = await world.startAgent('device-issuer', {
      issuer: functionIssuer('now and then', (request) => {
        if (up) return world.issue(request)
        up = true
        return Promise.reject(new Error('connect ECONNREFUSED'))
      }),
    })
    await agent.connected()
    up = false
    const problem = next(agent, 'problem', ({ during }) => during === 'requestCertificate')
    const rolled = agent.roll()
    expect((await problem)[0].error.code).toBe('ISSUER_UNAVAILABLE')
    await agent.send({ body: 'still connected' })
    await rolled
  })

  it('waits for a certificate that is issued later, also over a restart', async () => {
    const world = await createEnrollingWorld('device-pending')
    const stateFolder = await temporaryFolder()
    const tickets: string[] = []
    let ready = true
    let askedAgain: () => void = () => undefined
    const resumed = new Promise<void>((resolve) => (askedAgain = resolve))
    const issuer = functionIssuer('slow', {
      submit: (request) =>
        ready
          ? world.issue(request)
          : Promise.resolve({ kind: 'pending', ticket: 'ticket-1', retryAfterMs: 10 }),
      resume: (ticket, request) => {
        tickets.push(ticket)
        askedAgain()
        return ready ? world.issue(request) : Promise.resolve({ kind: 'pending', ticket, retryAfterMs: 10 })
      },
    })
    const agent = await world.startAgent('device-pending', { stateFolder, issuer })
    await agent.connected()
    ready = false
    const stopped = expect(agent.roll()).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
    await resumed
    await agent.stop()
    await stopped
    tickets.length = 0

    ready = true
    const again = await world.startAgent('device-pending', { stateFolder, issuer })
    const [report] = await next(again, 'rolled')
    expect(report.generation).toBe(2)
    expect(tickets).toContain('ticket-1')
    expect(again.status().generations).toEqual([1, 2])
  })

  it('may be asked for by a listener of connected', async () => {
    const world = await createEnrollingWorld('device-listener')
    const agent = await world.startAgent('device-listener')
    const report = await new Promise((resolve, reject) => {
      agent.once('connected', () => {
        // The first certificate becomes active in the same step; the roll is asked for right behind it.
        queueMicrotask(() => {
          agent.reprovision()
          agent.roll().then(resolve, reject)
        })
      })
    })
    expect(report).toMatchObject({ generation: 2, mode: 'expiry' })
  })

  it('is refused while another one is under way, or without an issuer', async () => {
    const world = await createEnrollingWorld('device-twice')
    const agent = await world.startAgent('device-twice')
    await agent.connected()
    const first = agent.roll()
    const second = agent.roll()
    await expect(second).rejects.toMatchObject({ code: 'AGENT_STATE_INVALID' })
    await first
    await agent.stop()
    await expect(agent.roll()).rejects.toMatchObject({ code: 'AGENT_STATE_INVALID' })

    const { issuer: _none, ...options } = world.agentOptions('device-twice')
    const without = await DeviceAgent.start(options)
    await expect(without.roll()).rejects.toMatchObject({
      message: expect.stringContaining('issuer') as unknown,
    })
    await without.stop()
  })
})

describe('stopping', () => {
  it('rejects what was not acknowledged, and what comes after', async () => {
    const world = await createEnrollingWorld('device-stop')
    const agent = await world.startAgent('device-stop')
    await agent.connected()
    await world.cloud.pauseListening()
    const unsent = expect(agent.send({ body: 'too late' })).rejects.toMatchObject({ code: 'OUTBOX_CLOSED' })
    await agent.stop()
    await unsent
    await expect(agent.send({ body: 'after' })).rejects.toMatchObject({ code: 'OUTBOX_CLOSED' })
    await expect(agent.connected()).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
  })

  it('lets what is on its way be acknowledged, and leaves no connection open', async () => {
    const world = await createEnrollingWorld('device-stop-busy')
    const agent = await world.startAgent('device-stop-busy')
    await agent.connected()
    const gone = world.cloud.waitFor('deviceDisconnected', ({ deviceId }) => deviceId === 'device-stop-busy')
    const sent = Array.from({ length: 50 }, (_, index) => agent.send({ body: `message ${index}` }))
    await agent.stop()
    const outcomes = await Promise.allSettled(sent)
    expect(outcomes.filter(({ status }) => status === 'fulfilled')).toHaveLength(50)
    expect(receivedBodies(world.cloud, 'device-stop-busy').size).toBe(50)
    await gone
  })

  it('does not wait for an issuer that never answers', async () => {
    const world = await createEnrollingWorld('device-stop-issuer')
    let asked: () => void = () => undefined
    const waiting = new Promise<void>((resolve) => (asked = resolve))
    let silent = false
    const agent = await world.startAgent('device-stop-issuer', {
      issuer: functionIssuer('silent', (request) => {
        if (!silent) return world.issue(request)
        asked()
        return new Promise<never>(() => undefined)
      }),
    })
    await agent.connected()
    silent = true
    const rolled = expect(agent.roll()).rejects.toMatchObject({ code: 'AGENT_STOPPED' })
    await waiting
    await agent.stop()
    await rolled
  })

  it('may come at any moment of the start', async () => {
    const world = await createEnrollingWorld('device-early')
    for (let round = 0; round < 5; round += 1) {
      const agent = await DeviceAgent.start(world.agentOptions('device-early'))
      for (let turn = 0; turn < round * 3; turn += 1) await new Promise((resolve) => setImmediate(resolve))
      await agent.stop()
    }
    const agent = await world.startAgent('device-early')
    await agent.connected()
  })
})
