import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest'
import { initialiseToken } from '../../src/hsm/initialise-token.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { newHsmCredential, type HsmCredential } from '../support/hsm-credential.ts'
import { startMutualTls, type MutualTls } from '../support/mutual-tls.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { moduleApi } from '../support/spy-module.ts'
import { TestAuthority } from '../support/test-authority.ts'

const hsm = createTestHsm()
let authority: TestAuthority
let server: MutualTls
let token: HsmToken
let credential: HsmCredential

beforeAll(async () => {
  authority = await TestAuthority.root()
  server = await startMutualTls(authority)
  token = await hsm.open()
  credential = await newHsmCredential(token, authority, 'device-1')
})

afterEach(() => {
  vi.restoreAllMocks()
})

afterAll(async () => {
  await token.close()
  server.close()
  hsm.remove()
})

function handshake({ keyUri, chain }: HsmCredential): Promise<string> {
  return server.handshake(token.tls.secureContext(keyUri, chain, authority.pem))
}

// The OpenSSL engine lives as long as the process, so these tests are one story, in this order.
describe('TLS with a key in the HSM', () => {
  test('works', async () => {
    expect(await handshake(credential)).toBe('device-1 TLSv1.3')
  })

  test('works with a key that was made after the engine first looked', async () => {
    const later = await newHsmCredential(token, authority, 'device-2')
    expect(await handshake(later)).toBe('device-2 TLSv1.3')
  })

  test('works again after the token was closed and opened; the module is not finalised meanwhile', async () => {
    const finalised = vi.spyOn(moduleApi(hsm.module), 'C_Finalize')
    const old = token.tls.secureContext(credential.keyUri, credential.chain, authority.pem)
    await token.close()
    expect(finalised).not.toHaveBeenCalled()
    await expect(server.handshake(old)).rejects.toThrow()
    token = await hsm.open()
    expect(await handshake(credential)).toBe('device-1 TLSv1.3')
  })

  test('works again after somebody else logged out', async () => {
    const api = moduleApi(hsm.module)
    const session = api.C_OpenSession(slotOf(hsm.label), 6)
    const before = token.tls.secureContext(credential.keyUri, credential.chain, authority.pem)
    api.C_Logout(session)
    api.C_CloseSession(session)
    const after = token.tls.secureContext(credential.keyUri, credential.chain, authority.pem)
    expect(after).not.toBe(before)
    expect(await server.handshake(after)).toBe('device-1 TLSv1.3')
  })

  test('is refused for a token that appeared after the engine listed them, though its keys work', async () => {
    const label = `${hsm.label}-late`
    initialiseToken({ module: hsm.module, label, pin: hsm.pin, soPin: hsm.soPin })
    const late = await hsm.open({ token: { label } })
    const { keyUri, chain } = await newHsmCredential(late, authority, 'device-3')
    expect(() => late.tls.secureContext(keyUri, chain, authority.pem)).toThrow(
      expect.objectContaining({
        code: 'TLS_RESTART_NEEDED',
        message: expect.stringContaining('appeared after this process first used TLS') as string,
      }),
    )
    await late.close()
    expect(await handshake(credential)).toBe('device-1 TLSv1.3')
  })

  test('is refused after the sessions were lost, rather than prompting for a PIN on the terminal', async () => {
    moduleApi(hsm.module).C_CloseAllSessions(slotOf(hsm.label))
    expect(() => token.tls.secureContext(credential.keyUri, credential.chain, authority.pem)).toThrow(
      expect.objectContaining({
        code: 'TLS_RESTART_NEEDED',
        message: expect.stringContaining('its sessions were lost') as string,
      }),
    )
    expect(await token.keyStore('device-1').list()).toHaveLength(1)
  })
})

function slotOf(label: string): Buffer {
  const api = moduleApi(hsm.module)
  const slot = api.C_GetSlotList(true).find((each) => api.C_GetTokenInfo(each).label.trim() === label)
  if (slot === undefined) throw new TypeError('no such slot')
  return slot
}
