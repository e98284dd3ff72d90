import { randomBytes } from 'node:crypto'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import { initialiseToken } from '../../src/hsm/initialise-token.ts'
import { openToken } from '../../src/hsm/open-token.ts'
import { loadProfile } from '../../src/hsm/profile.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { Secret } from '../../src/secret.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { ckr, loginsOf, moduleApi } from '../support/spy-module.ts'

const hsm = createTestHsm()
const opened: HsmToken[] = []

async function open(options: Parameters<typeof hsm.open>[0] = {}): Promise<HsmToken> {
  const token = await hsm.open(options)
  opened.push(token)
  return token
}

afterEach(async () => {
  vi.restoreAllMocks()
  vi.unstubAllEnvs()
  for (const token of opened.splice(0)) await token.close()
})

afterAll(() => {
  hsm.remove()
})

describe('a token is found', () => {
  test('by label, serial or URI, or all of them', async () => {
    const { description } = await open()
    const { label, serial, model } = description
    expect(description).toMatchObject({
      module: hsm.module,
      label: hsm.label,
      manufacturer: 'SoftHSM project',
    })
    const selectors = [
      { label },
      { serial },
      { uri: `pkcs11:token=${label}` },
      { uri: `pkcs11:serial=${serial};model=${encodeURIComponent(model)}` },
      { label, serial, uri: `pkcs11:token=${label};manufacturer=SoftHSM%20project` },
    ]
    for (const token of selectors) expect((await open({ token })).description).toEqual(description)
  })

  test.each([
    { label: 'no-such-token' },
    { serial: '00' },
    { uri: 'pkcs11:token=no-such-token' },
    { label: hsm.label, uri: 'pkcs11:token=no-such-token' },
  ])('and otherwise the error names those that are there: %j', async (token) => {
    await expect(open({ token })).rejects.toMatchObject({
      code: 'HSM_TOKEN_NOT_FOUND',
      message: expect.stringContaining(`"${hsm.label}"`) as string,
    })
  })

  test('only when the URI can be read', async () => {
    await expect(open({ token: { uri: 'token=x' } })).rejects.toMatchObject({ code: 'HSM_URI_INVALID' })
  })

  test('unless several match', async () => {
    const other = `${hsm.label}-b`
    initialiseToken({ module: hsm.module, label: other, pin: hsm.pin, soPin: hsm.soPin })
    await expect(open({ token: {} })).rejects.toMatchObject({
      code: 'HSM_TOKEN_AMBIGUOUS',
      message: expect.stringContaining(other) as string,
    })
    await expect(open({ token: { uri: 'pkcs11:model=SoftHSM%20v2' } })).rejects.toMatchObject({
      code: 'HSM_TOKEN_AMBIGUOUS',
    })
    expect((await open({ token: { label: other } })).description.label).toBe(other)
  })
})

describe('a module', () => {
  test('that is not there is named', async () => {
    await expect(open({ module: '/does/not/exist.so' })).rejects.toMatchObject({
      code: 'HSM_MODULE_NOT_FOUND',
      message: expect.stringContaining('/does/not/exist.so') as string,
    })
  })

  test('of a profile that is nowhere is named with the places', async () => {
    const profile = { ...loadProfile('softhsm'), module: ['/nowhere/a.so', '/nowhere/b.so'] }
    await expect(open({ module: profile })).rejects.toMatchObject({
      code: 'HSM_MODULE_NOT_FOUND',
      message: expect.stringContaining('/nowhere/a.so, /nowhere/b.so') as string,
    })
  })

  test('that is no library is refused', async () => {
    const file = join(hsm.folder, 'module.so')
    writeFileSync(file, 'not a library')
    await expect(open({ module: file })).rejects.toMatchObject({ code: 'HSM_MODULE_FAILED' })
  })

  test('that is another library is refused', async () => {
    const library = process.report.getReport() as { sharedObjects: string[] }
    const file = library.sharedObjects.find((path) => path.includes('/libm.so')) ?? ''
    await expect(open({ module: file })).rejects.toMatchObject({ code: 'HSM_MODULE_FAILED' })
  })

  test('that was initialised with another configuration is not used silently', async () => {
    await open()
    vi.stubEnv('SOFTHSM2_CONF', '/elsewhere/softhsm2.conf')
    await expect(open()).rejects.toMatchObject({
      code: 'HSM_MODULE_FAILED',
      message: expect.stringContaining('/elsewhere/softhsm2.conf') as string,
    })
  })

  test('without a usable configuration says which one it tried', async () => {
    vi.stubEnv('SOFTHSM2_CONF', '/elsewhere/softhsm2.conf')
    await expect(open()).rejects.toMatchObject({
      code: 'HSM_MODULE_FAILED',
      message: expect.stringContaining('SOFTHSM2_CONF=/elsewhere/softhsm2.conf') as string,
    })
  })
})

describe('agents that open the same token', () => {
  test('share one login, also when they come together, and the last one logs out', async () => {
    const logins = loginsOf(hsm.module)
    const api = moduleApi(hsm.module)
    const logouts = vi.spyOn(api, 'C_Logout')
    const finalised = vi.spyOn(api, 'C_Finalize')
    const tokens = await Promise.all(Array.from({ length: 20 }, () => open()))
    expect(logins()).toBe(1)
    const last = tokens.pop()
    for (const token of tokens) await token.close()
    expect(logouts).not.toHaveBeenCalled()
    expect(await last?.keyStore('device-1').list()).toEqual([])
    await last?.close()
    await last?.close()
    expect(logouts).toHaveBeenCalledTimes(1)
    expect(finalised).toHaveBeenCalledTimes(1)
  })

  test('can open it again after it was closed, and while it closes', async () => {
    const first = await open()
    const made = await first.keyStore('device-2').generate(1, 'EC-P256')
    const closed = first.close()
    const second = await open()
    await closed
    expect(await second.keyStore('device-2').list()).toEqual([made])
  })
})

describe('a closed token', () => {
  test('refuses what comes later', async () => {
    const token = await open()
    const keys = token.keyStore('device-3')
    const { keyId } = await keys.generate(1, 'EC-P256')
    const signer = await keys.signer(keyId)
    await token.close()
    await expect(keys.list()).rejects.toMatchObject({ code: 'HSM_CLOSED' })
    await expect(keys.generate(2, 'EC-P256')).rejects.toMatchObject({ code: 'HSM_CLOSED' })
    await expect(signer.sign(randomBytes(8), 'SHA-256')).rejects.toMatchObject({ code: 'HSM_CLOSED' })
  })

  test('lets running work end first', async () => {
    const token = await open({ maxSessions: 2 })
    const keys = token.keyStore('device-4')
    const { keyId } = await keys.generate(1, 'EC-P256')
    const signer = await keys.signer(keyId)
    const running = [keys.generate(2, 'EC-P256'), signer.sign(randomBytes(8), 'SHA-256')]
    await Promise.resolve()
    await token.close()
    const results = await Promise.allSettled(running)
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'fulfilled'])
  })
})

describe('when the token loses', () => {
  test('the login, it logs in again once with the PIN it accepted', async () => {
    const token = await open()
    const keys = token.keyStore('device-5')
    const { keyId } = await keys.generate(1, 'EC-P256')
    const signer = await keys.signer(keyId)
    const api = moduleApi(hsm.module)
    const logins = loginsOf(hsm.module)
    logOutBehindItsBack(token)
    expect(await keys.list()).toHaveLength(1)
    expect(logins()).toBe(1)
    logOutBehindItsBack(token)
    expect(await signer.sign(randomBytes(8), 'SHA-256')).toHaveLength(64)
    expect(logins()).toBe(2)
    expect(api.C_GetSlotList(true).length).toBeGreaterThan(0)
  })

  test('its sessions, it opens new ones and goes on', async () => {
    const token = await open()
    const keys = token.keyStore('device-6')
    const { keyId } = await keys.generate(1, 'EC-P256')
    const signer = await keys.signer(keyId)
    await signer.sign(randomBytes(8), 'SHA-256')
    const logins = loginsOf(hsm.module)
    moduleApi(hsm.module).C_CloseAllSessions(slotOf(token))
    const signatures = await Promise.all(
      Array.from({ length: 20 }, () => signer.sign(randomBytes(8), 'SHA-256')),
    )
    expect(signatures.every(({ length }) => length === 64)).toBe(true)
    expect(logins()).toBe(1)
    moduleApi(hsm.module).C_CloseAllSessions(slotOf(token))
    await keys.destroy(keyId)
    expect(await keys.list()).toEqual([])
  })

  test('its sessions in the middle of a call, the call is repeated', async () => {
    const token = await open()
    const keys = token.keyStore('device-7')
    const spy = vi.spyOn(moduleApi(hsm.module), 'C_GenerateKeyPair')
    spy.mockImplementationOnce(() => {
      throw ckr('CKR_DEVICE_REMOVED')
    })
    expect(await keys.generate(1, 'EC-P256')).toMatchObject({ number: 1, hasPrivateKey: true })
    expect(spy).toHaveBeenCalledTimes(2)
  })

  test('itself, the error says so, and nothing is tried a third time', async () => {
    const token = await open()
    const keys = token.keyStore('device-8')
    const spy = vi.spyOn(moduleApi(hsm.module), 'C_GenerateKeyPair')
    spy.mockImplementation(() => {
      throw ckr('CKR_DEVICE_REMOVED')
    })
    await expect(keys.generate(1, 'EC-P256')).rejects.toMatchObject({
      code: 'HSM_TOKEN_REMOVED',
      reason: 'CKR_DEVICE_REMOVED',
      retryable: true,
    })
    expect(spy).toHaveBeenCalledTimes(2)
    spy.mockRestore()
    expect(await keys.generate(1, 'EC-P256')).toMatchObject({ number: 1 })
  })

  test('the login and has another PIN now, the old PIN is tried once', async () => {
    const label = `changing-${randomBytes(3).toString('hex')}`
    const pin = new Secret('old-pin-1')
    initialiseToken({ module: hsm.module, label, pin, soPin: hsm.soPin })
    const token = await open({ token: { label }, pin: { callback: () => pin } })
    const keys = token.keyStore('device-9')
    await keys.generate(1, 'EC-P256')
    const api = moduleApi(hsm.module)
    const session = api.C_OpenSession(slotOf(token), 6)
    api.C_SetPIN(session, 'old-pin-1', 'new-pin-2')
    api.C_Logout(session)
    const logins = loginsOf(hsm.module)
    await expect(keys.list()).rejects.toMatchObject({ code: 'HSM_PIN_INCORRECT' })
    await expect(keys.list()).rejects.toMatchObject({ code: 'HSM_PIN_INCORRECT' })
    expect(logins()).toBe(1)
    await token.close()
    const again = await openToken({
      module: hsm.module,
      token: { label },
      pin: { callback: () => new Secret('new-pin-2') },
    })
    expect(await again.keyStore('device-9').list()).toHaveLength(1)
    await again.close()
  })
})

function slotOf(token: HsmToken): Buffer {
  const api = moduleApi(hsm.module)
  const slot = api
    .C_GetSlotList(true)
    .find((each) => api.C_GetTokenInfo(each).serialNumber.trim() === token.description.serial)
  if (slot === undefined) throw new TypeError('no such slot')
  return slot
}

function logOutBehindItsBack(token: HsmToken): void {
  const api = moduleApi(hsm.module)
  const session = api.C_OpenSession(slotOf(token), 6)
  api.C_Logout(session)
  api.C_CloseSession(session)
}
