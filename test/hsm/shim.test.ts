import { randomBytes } from 'node:crypto'
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest'
import type { HsmToken } from '../../src/hsm/token.ts'
import { newHsmCredential } from '../support/hsm-credential.ts'
import { startMutualTls } from '../support/mutual-tls.ts'
import { Pkcs11Shim, withoutShim } from '../support/pkcs11-shim.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { TestAuthority } from '../support/test-authority.ts'

// A module that crashes the process and one that kills it are seen from outside: test/crash, test/scenarios.
describe.skipIf(withoutShim)('the PKCS#11 fault shim (skipped where there is no C compiler)', () => {
  const hsm = createTestHsm()
  let shim: Pkcs11Shim
  let token: HsmToken

  beforeAll(async () => {
    shim = new Pkcs11Shim(hsm.folder)
    token = await hsm.open({ module: shim.module })
  })

  afterEach(() => {
    shim.clear()
  })

  afterAll(async () => {
    await token.close()
    hsm.remove()
  })

  async function sign(): Promise<Uint8Array> {
    const { keyId } = await token.keyStore('device-1').generate(0, 'EC-P256')
    return await (await token.keyStore('device-1').signer(keyId)).sign(randomBytes(8), 'SHA-256')
  }

  test('passes everything on while there are no rules', async () => {
    expect(await sign()).toHaveLength(64)
    expect(token.description.label).toBe(hsm.label)
  })

  test('lets the nth call fail, and only that one', async () => {
    shim.set({ on: 'C_Sign', calls: 2, lose: 'CKR_DEVICE_ERROR' })
    expect(await sign()).toHaveLength(64)
    await expect(sign()).rejects.toMatchObject({ code: 'HSM_DEVICE_ERROR', reason: 'CKR_DEVICE_ERROR' })
    expect(await sign()).toHaveLength(64)
  })

  test('lets the nth call and all later ones fail, until the rules change', async () => {
    shim.set({ on: 'C_Sign', calls: '2+', lose: 'CKR_DEVICE_MEMORY' })
    expect(await sign()).toHaveLength(64)
    await expect(sign()).rejects.toMatchObject({ code: 'HSM_TOKEN_FULL' })
    await expect(sign()).rejects.toMatchObject({ code: 'HSM_TOKEN_FULL' })
    shim.clear()
    expect(await sign()).toHaveLength(64)
  })

  test('loses an answer after the work was done', async () => {
    shim.set({ on: 'C_GenerateKeyPair', calls: 1, lose: 'CKR_DEVICE_ERROR' })
    const keys = token.keyStore('device-2')
    await expect(keys.generate(1, 'EC-P256')).rejects.toMatchObject({ code: 'HSM_DEVICE_ERROR' })
    expect(await keys.list()).toMatchObject([{ number: 1, hasPrivateKey: true }])
  })

  test('leaves an operation open where a call is refused, and the key store takes another session', async () => {
    shim.set({ on: 'C_Sign', calls: 1, fail: 'CKR_DEVICE_ERROR' })
    await expect(sign()).rejects.toMatchObject({ code: 'HSM_DEVICE_ERROR' })
    expect(await sign()).toHaveLength(64)
  })

  test('is slow when it is told to be', async () => {
    shim.set({ on: 'C_Sign', delayMs: 300 })
    const before = performance.now()
    await sign()
    expect(performance.now() - before).toBeGreaterThan(295)
  })

  test('notes which functions are called', async () => {
    await sign()
    shim.observe()
    await sign()
    expect(shim.calls()).toContain('C_Sign')
    expect(shim.calls().at(-1)).toBe('C_Sign')
    expect(shim.calls()).not.toContain('C_GenerateKeyPair')
  })

  test("sees the calls of OpenSSL's engine, too", async () => {
    const authority = await TestAuthority.root()
    const server = await startMutualTls(authority)
    const { keyUri, chain } = await newHsmCredential(token, authority, 'device-3')
    const context = token.tls.secureContext(keyUri, chain, authority.pem)
    shim.observe()
    expect(await server.handshake(context)).toBe('device-3 TLSv1.3')
    expect(shim.calls()).toEqual(['C_SignInit', 'C_Sign'])
    shim.set({ on: 'C_Sign', lose: 'CKR_DEVICE_ERROR' })
    await expect(server.handshake(context)).rejects.toThrow()
    shim.clear()
    expect(await server.handshake(context)).toBe('device-3 TLSv1.3')
    server.close()
  })
})
