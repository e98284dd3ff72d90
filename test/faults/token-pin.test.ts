import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import { Secret } from 'leafkeeper'
import { describe, expect, it } from 'vitest'
import { createFaultyWorld } from '../support/faulty-token.ts'
import { withoutShim } from '../support/pkcs11-shim.ts'
import { moduleApi } from '../support/spy-module.ts'
import { next, testHsm } from '../support/world.ts'

/** Does something on a session of its own, in this process. */
function aside(module: string, work: (api: PKCS11, session: Handle) => void): void {
  const api = moduleApi(module)
  const slot = api
    .C_GetSlotList(true)
    .find((each) => api.C_GetTokenInfo(each).label.trim() === testHsm().label)
  if (slot === undefined) throw new TypeError('no such slot')
  const session = api.C_OpenSession(slot, pkcs11.CKF_SERIAL_SESSION | pkcs11.CKF_RW_SESSION)
  work(api, session)
  api.C_CloseSession(session)
}

function changePin(module: string, from: Secret, to: Secret): void {
  aside(module, (api, session) => api.C_SetPIN(session, from.reveal(), to.reveal()))
}

/** Logs the process out, so that the agent has to log in again. */
function logOut(module: string): void {
  aside(module, (api, session) => api.C_Logout(session))
}

// A token that has refused a PIN in this process is not asked again by any agent of it: the order counts.
describe.skipIf(withoutShim)(
  'a PIN behind the back of the agent (skipped where there is no C compiler)',
  () => {
    it('that is locked: the roll ends, one login was tried, and the device stays connected until the hub drops', async () => {
      const { world, shim, connect, settledWithNewest } = await createFaultyWorld('device-locked')
      const agent = await connect()
      shim.observe({ on: 'C_Login', fail: 'CKR_PIN_LOCKED' })
      logOut(shim.module)
      await expect(agent.roll()).rejects.toMatchObject({ code: 'HSM_PIN_LOCKED', retryable: false })
      await agent.send({ body: 'still here' })
      const halted = next(agent, 'transition', ({ to }) => to === 'halted')
      world.cloud.dropConnections()
      await halted
      await expect(agent.connected()).rejects.toMatchObject({ code: 'HSM_PIN_LOCKED' })
      expect(agent.status()).toMatchObject({ connection: 'halted', lastError: { code: 'HSM_PIN_LOCKED' } })
      agent.reprovision()
      expect(shim.calls().filter((name) => name === 'C_Login')).toHaveLength(1)
      await agent.stop()

      shim.clear()
      await settledWithNewest(await connect())
    })

    it('that was changed: it is tried once, never again by itself, and the new one goes on with the old identity', async () => {
      const { world, shim, connect, options, settledWithNewest } = await createFaultyWorld('device-changed')
      const agent = await connect()
      const thumbprint = agent.status().active?.thumbprint
      const newPin = new Secret('another-pin')
      shim.observe()
      changePin(shim.module, testHsm().pin, newPin)
      logOut(shim.module)
      const problem = next(agent, 'problem')
      const halted = next(agent, 'transition', ({ to }) => to === 'halted')
      world.cloud.dropConnections()
      expect((await problem)[0].error).toMatchObject({
        code: 'HSM_PIN_INCORRECT',
        reason: 'CKR_PIN_INCORRECT',
        message: expect.stringContaining('it is not tried a second time by itself') as unknown,
      })
      await halted
      agent.reprovision()
      await expect(agent.connected()).rejects.toMatchObject({ code: 'HSM_PIN_INCORRECT' })
      await agent.stop()
      await expect(connect()).rejects.toMatchObject({ code: 'HSM_PIN_INCORRECT' })
      expect(shim.calls().filter((name) => name === 'C_Login')).toHaveLength(1)

      // Its owner corrects the PIN; the test's own look at the token needs the old one again.
      const { token } = options()
      const again = await connect({ token: { ...token, pin: { callback: () => newPin } } })
      expect(again.status().active?.thumbprint).toBe(thumbprint)
      await again.roll()
      changePin(shim.module, newPin, testHsm().pin)
      await settledWithNewest(again)
    })
  },
)
