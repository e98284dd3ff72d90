import { mkdir, rm } from 'node:fs/promises'
import { join } from 'node:path'
import type { DeviceAgent } from 'leafkeeper'
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest'
import { initialiseToken } from '../../src/hsm/initialise-token.ts'
import type { Audit } from '../crash/conversation.ts'
import { bundleDevice } from '../crash/device-bundle.ts'
import { DeviceProcess } from '../crash/device-process.ts'
import { createFaultyWorld, type FaultyWorld } from '../support/faulty-token.ts'
import { withoutShim, type ShimRule } from '../support/pkcs11-shim.ts'
import { moduleApi } from '../support/spy-module.ts'
import { temporaryFolder } from '../support/temporary-folder.ts'
import { next, quickPolicy, testHsm } from '../support/world.ts'

const pulledOut: ShimRule = { on: '*', then: 'remove' }
/** What the agent says while there is no token. */
const absent = ['HSM_TOKEN_NOT_FOUND', 'HSM_TOKEN_REMOVED']

/** When the token is pulled out, and what the agent was about to do with it. */
type Stage = [when: string, pull: (agent: DeviceAgent, pullOut: () => void) => void, during: string]

const stages: Stage[] = [
  [
    'before a roll makes its key',
    (agent, pullOut) => {
      pullOut()
      agent.beginRoll({})
    },
    'generateKey',
  ],
  ['before the request is signed', atPhase('requesting'), 'requestCertificate'],
  ['before the certificate is stored', atPhase('storing'), 'storeCertificate'],
  ['before the new generation proves itself', atPhase('proving'), 'register'],
  ['before the old key is destroyed', atPhase('retiring'), 'destroyGeneration'],
]

/** Pulls the token out at the instant at which a roll comes to this phase. */
function atPhase(phase: string): Stage[1] {
  return (agent, pullOut) => {
    agent.on('transition', function pullOnce({ region, to }) {
      if (region !== 'roll' || to !== phase) return
      agent.off('transition', pullOnce)
      pullOut()
    })
    agent.beginRoll({})
  }
}

// OpenSSL loses a token that was pulled out for as long as the process lives: each test has one of its own.
const situations = [...stages.map(([when]) => when), 'idle', 'with the hub gone']
const labelOf = (situation: string): string => `removed-${situations.indexOf(situation)}`

/** A connected device on a token of its own, whose next process goes on in the same folder. */
interface Device extends FaultyWorld {
  readonly agent: DeviceAgent
  readonly folder: string
  readonly label: string
}

describe.skipIf(withoutShim)(
  'a token that is pulled out and put back (skipped where there is no C compiler)',
  () => {
    let program: string

    beforeAll(async () => {
      const { module, pin, soPin } = testHsm()
      for (const situation of situations) initialiseToken({ module, label: labelOf(situation), pin, soPin })
      program = await bundleDevice()
    })

    afterAll(() => rm(program))

    async function connectedDevice(situation: string): Promise<Device> {
      const label = labelOf(situation)
      const faulty = await createFaultyWorld(`device-${label}`)
      const folder = await temporaryFolder()
      const stateFolder = join(folder, 'state')
      await mkdir(stateFolder)
      const { token } = faulty.options()
      const policy = { ...quickPolicy, overlapMs: 0 }
      const agent = await faulty.connect({ token: { ...token, token: { label } }, stateFolder, policy })
      return { ...faulty, agent, folder, label }
    }

    /** Goes on in a new process, as the supervisor of a service has it, and says what the device is made of then. */
    async function inNextProcess({ world, shim, agent, folder, label }: Device): Promise<Audit> {
      await agent.stop()
      const { registrationId } = agent.status()
      const { provisioningHost, idScope, trustedAuthorities, connectTo } = world.cloud
      const cloud = { provisioningHost, idScope, trustedAuthorities, connectTo }
      const { module, rulesFile: rules } = shim
      const setUp = { registrationId, folder, module, rules, tokenLabel: label, ...cloud, watchStart: null }
      const device = new DeviceProcess(
        { program, setUp, environment: {}, pin: testHsm().pin.reveal() },
        {
          issue: () => Promise.reject(new Error('The device has asked for another certificate.')),
          acknowledged: () => undefined,
        },
      )
      onTestFinished(() => device.end())
      const outcome = await device.next()
      if (outcome.kind !== 'settled') throw new Error(`${JSON.stringify(outcome)}: ${device.story}`)
      return outcome.audit
    }

    /** One whole generation, with the newest leaf. */
    function newestAlone({ world }: Device): Partial<Audit> {
      const { thumbprint } = world.leaf(world.issued.length - 1)
      return { thumbprint, objects: { private: 1, public: 1, certificate: 1 } }
    }

    it.each(stages)(
      '%s: the connection stays, and a new process ends the roll',
      async (when, pull, during) => {
        const device = await connectedDevice(when)
        const { agent, shim } = device
        const missed = next(agent, 'problem', (problem) => problem.during === during)
        pull(agent, () => shim.set(pulledOut))
        const [{ error }] = await missed
        expect(absent).toContain(error.code)
        expect(error.retryable).toBe(true)
        await agent.send({ body: 'sent without a token' })
        expect(agent.status().connection).toBe('connected')

        // Back again, the token serves what goes through leafkeeper; OpenSSL wants a new process.
        const isInUse = during === 'destroyGeneration'
        const done = next(agent, 'transition', () =>
          isInUse ? agent.state.roll.phase === 'idle' : agent.state.tokenShut === 'TLS_RESTART_NEEDED',
        )
        shim.clear()
        await done
        expect(agent.state).toMatchObject({
          active: isInUse ? 2 : 1,
          roll: { phase: isInUse ? 'idle' : 'staged' },
        })
        await agent.send({ body: 'sent with the token back' })
        expect(agent.status().connection).toBe('connected')
        expect(await inNextProcess(device)).toMatchObject(newestAlone(device))
      },
    )

    it('while nothing needs it: nobody notices before the hub drops the connection, then the agent halts', async () => {
      const device = await connectedDevice('idle')
      const { agent, shim, world } = device
      const codes: string[] = []
      agent.on('problem', ({ error }) => codes.push(error.code))
      shim.set(pulledOut)
      // The sessions end with the next call, whoever makes it.
      expect(moduleApi(shim.module).C_GetSlotList(true)).toEqual([])
      await agent.send({ body: 'sent without a token' })
      shim.clear()
      expect(codes).toEqual([])
      const halted = next(agent, 'transition', ({ to }) => to === 'halted')
      world.cloud.dropConnections()
      await halted
      await expect(agent.connected()).rejects.toMatchObject({ code: 'TLS_RESTART_NEEDED' })
      expect(await inNextProcess(device)).toMatchObject(newestAlone(device))
    })

    it('while the hub drops the connection: it is tried until the token is back, then the agent halts', async () => {
      const device = await connectedDevice('with the hub gone')
      const { agent, shim, world } = device
      const missing = next(agent, 'problem', ({ during }) => during === 'connectHub')
      const again = next(agent, 'problem', ({ error }) => error.code === 'HSM_TOKEN_NOT_FOUND')
      shim.set(pulledOut)
      world.cloud.dropConnections()
      expect(absent).toContain((await missing)[0].error.code)
      await again
      shim.clear()
      await expect(agent.connected()).rejects.toMatchObject({ code: 'TLS_RESTART_NEEDED' })
      expect(await inNextProcess(device)).toMatchObject(newestAlone(device))
    })

    it('for a moment, with its sessions alive all the while: the same process ends the roll', async () => {
      const { shim, connect, settledWithNewest } = await createFaultyWorld('device-blinking')
      const agent = await connect()
      const missed = next(agent, 'problem', ({ during }) => during === 'generateKey')
      shim.set(
        { on: 'C_GenerateKeyPair', fail: 'CKR_TOKEN_NOT_PRESENT' },
        { on: 'C_GetSlotList', then: 'empty' },
      )
      const rolled = agent.roll()
      expect(absent).toContain((await missed)[0].error.code)
      shim.clear()
      await rolled
      await settledWithNewest(agent)
    })
  },
)
