import type { DeviceAgent, DeviceAgentEvents } from 'leafkeeper'
import { describe, expect, it } from 'vitest'
import {
  createFaultyWorld,
  expectConnectedWith,
  objectsOf,
  settled,
  wholeGeneration,
} from '../support/faulty-token.ts'
import { withoutShim, type Pkcs11Function, type ReturnValue, type ShimRule } from '../support/pkcs11-shim.ts'
import { next, rollPhase } from '../support/world.ts'

/** What fails from now on: what was being done, and the code. */
function problemsOf(agent: DeviceAgent): string[] {
  const problems: string[] = []
  agent.on('problem', ({ error, during }) => problems.push(`${during} ${error.code}`))
  return problems
}

function problemDuring(
  agent: DeviceAgent,
  what: DeviceAgentEvents['problem'][0]['during'],
): Promise<DeviceAgentEvents['problem']> {
  return next(agent, 'problem', ({ during }) => during === what)
}

describe.skipIf(withoutShim)('a token that fails (skipped where there is no C compiler)', () => {
  describe('once in a roll: the roll is completed', () => {
    const passing: [name: string, what: string, rule: ShimRule, problem: string][] = [
      [
        'make',
        'as it makes the key',
        { on: 'C_GenerateKeyPair', calls: 1, fail: 'CKR_DEVICE_ERROR' },
        'generateKey',
      ],
      [
        'made',
        'when it has made the key',
        { on: 'C_GenerateKeyPair', calls: 1, lose: 'CKR_DEVICE_ERROR' },
        'generateKey',
      ],
      [
        'sign',
        'as it signs the request',
        { on: 'C_Sign', calls: 1, lose: 'CKR_DEVICE_ERROR' },
        'requestCertificate',
      ],
      [
        'store',
        'as it stores the certificate',
        { on: 'C_CreateObject', calls: 1, fail: 'CKR_DEVICE_ERROR' },
        'storeCertificate',
      ],
      [
        'stored',
        'when it has stored the certificate',
        { on: 'C_CreateObject', calls: 1, lose: 'CKR_DEVICE_ERROR' },
        'storeCertificate',
      ],
      [
        'destroy',
        'as it destroys the old key',
        { on: 'C_DestroyObject', calls: 1, fail: 'CKR_DEVICE_ERROR' },
        'destroyGeneration',
      ],
      [
        'destroyed',
        'when it has destroyed the old key',
        { on: 'C_DestroyObject', calls: 1, lose: 'CKR_DEVICE_ERROR' },
        'destroyGeneration',
      ],
    ]
    it.each(passing)('CKR_DEVICE_ERROR (%s) %s', async (name, _what, rule, during) => {
      const { shim, connect, settledWithNewest } = await createFaultyWorld(`device-error-${name}`)
      const agent = await connect()
      const problems = problemsOf(agent)
      shim.set(rule)
      await agent.roll()
      await settledWithNewest(agent)
      expect(problems).toEqual([`${during} HSM_DEVICE_ERROR`])
    })

    const lost: [returned: ReturnValue, on: Pkcs11Function][] = [
      ['CKR_SESSION_HANDLE_INVALID', 'C_GenerateKeyPair'],
      ['CKR_USER_NOT_LOGGED_IN', 'C_GenerateKeyPair'],
      ['CKR_SESSION_CLOSED', 'C_SignInit'],
      ['CKR_SESSION_HANDLE_INVALID', 'C_CreateObject'],
      ['CKR_SESSION_CLOSED', 'C_DestroyObject'],
    ]
    it.each(lost)('%s from %s, and nobody notices', async (fail, on) => {
      const { shim, connect, settledWithNewest } = await createFaultyWorld(`device-${fail}-${on}`)
      const agent = await connect()
      const problems = problemsOf(agent)
      shim.set({ on, calls: 1, fail })
      await agent.roll()
      await settledWithNewest(agent)
      expect(problems).toEqual([])
    })
  })

  describe("in the signature of a TLS handshake, which OpenSSL's engine asks for", () => {
    // The engine asks once more by itself.
    const twice = (rule: ShimRule): ShimRule[] => [
      { ...rule, calls: 1 },
      { ...rule, calls: 1 },
    ]
    const failing: [what: string, rule: ShimRule, code: string][] = [
      ['CKR_DEVICE_ERROR', { on: 'C_Sign', lose: 'CKR_DEVICE_ERROR' }, 'HSM_DEVICE_ERROR'],
      [
        'CKR_SESSION_HANDLE_INVALID',
        { on: 'C_SignInit', fail: 'CKR_SESSION_HANDLE_INVALID' },
        'HSM_TOKEN_REMOVED',
      ],
      ['CKR_SESSION_CLOSED', { on: 'C_SignInit', fail: 'CKR_SESSION_CLOSED' }, 'HSM_TOKEN_REMOVED'],
    ]
    it.each(failing)('with %s: it is tried again soon, and DPS is not asked', async (name, rule, code) => {
      const { world, shim, connect, settledWithNewest } = await createFaultyWorld(`device-tls-${name}`)
      const agent = await connect()
      const { registrationId } = agent.status()
      const registrations = world.cloud.dps.registrationCount(registrationId)
      const problem = problemDuring(agent, 'connectHub')
      const again = next(agent, 'connected')
      shim.set(...twice(rule))
      world.cloud.dropConnections()
      expect((await problem)[0].error).toMatchObject({ code, retryable: true })
      await again
      await settledWithNewest(agent)
      expect(world.cloud.dps.registrationCount(registrationId)).toBe(registrations)
    })

    it('with CKR_DEVICE_ERROR while a roll is proved: the old connection stays up, and the roll goes on', async () => {
      const { world, shim, connect, settledWithNewest } = await createFaultyWorld('device-tls-roll')
      const agent = await connect()
      const { issue } = world
      world.issue = async (request) => {
        const chain = await issue(request)
        shim.set({ on: 'C_Sign', lose: 'CKR_DEVICE_ERROR' })
        return chain
      }
      const problem = problemDuring(agent, 'register')
      const rolled = agent.roll()
      expect((await problem)[0].error).toMatchObject({ code: 'HSM_DEVICE_ERROR', retryable: true })
      await agent.send({ body: 'meanwhile' })
      expect(agent.status()).toMatchObject({ connection: 'connected', active: { generation: 1 } })
      shim.clear()
      await rolled
      await settledWithNewest(agent)
    })
  })

  describe('because it is full: the roll ends, the old identity stays, and the next roll has room', () => {
    const full: [name: string, what: string, rule: ShimRule][] = [
      ['key', 'for a key', { on: 'C_GenerateKeyPair', fail: 'CKR_DEVICE_MEMORY' }],
      ['certificate', 'for a certificate', { on: 'C_CreateObject', fail: 'CKR_DEVICE_MEMORY' }],
    ]
    it.each(full)('(%s) %s', async (name, _what, rule) => {
      const { world, shim, connect, settledWithNewest } = await createFaultyWorld(`device-full-${name}`)
      const agent = await connect()
      const { registrationId, active } = agent.status()
      shim.set(rule)
      await expect(agent.roll()).rejects.toMatchObject({ code: 'HSM_TOKEN_FULL', retryable: false })
      await agent.send({ body: 'still here' })
      await settled(agent)
      expectConnectedWith(world, agent, active?.thumbprint ?? '')
      expect(objectsOf(world, registrationId)).toEqual(wholeGeneration(agent))
      shim.clear()
      await agent.roll()
      await settledWithNewest(agent)
    })
  })
})

describe.skipIf(withoutShim)(
  'a token that takes 2 s for a signature (skipped where there is no C compiler)',
  () => {
    const slow: ShimRule = { on: 'C_Sign', delayMs: 2_000 }

    it('of a request: the device stays connected, and its messages are acknowledged meanwhile', async () => {
      const { shim, connect, settledWithNewest } = await createFaultyWorld('device-slow-request')
      const agent = await connect()
      const problems = problemsOf(agent)
      agent.on('disconnected', ({ code }) => problems.push(code))
      shim.set(slow)
      const rolled = agent.roll()
      await rollPhase(agent, 'requesting')
      for (let message = 0; message < 50; message += 1) await agent.send({ body: `message ${message}` })
      expect(agent.status().roll).toBe('requesting')
      // What is being signed stays slow; the handshakes that follow are for the next test.
      shim.clear()
      await rolled
      await settledWithNewest(agent)
      expect(problems).toEqual([])
    })

    it('of a TLS handshake: it succeeds', async () => {
      const { world, shim, connect, settledWithNewest } = await createFaultyWorld('device-slow-tls')
      const agent = await connect()
      const problems = problemsOf(agent)
      const again = next(agent, 'connected')
      shim.set(slow)
      const dropped = performance.now()
      world.cloud.dropConnections()
      await again
      expect(performance.now() - dropped).toBeGreaterThan(2_000)
      await settledWithNewest(agent)
      expect(problems).toEqual([])
    })
  },
)
