import { randomBytes } from 'node:crypto'
import { spawnSync } from 'node:child_process'
import { join } from 'node:path'
import { appendFileSync, mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { afterAll, afterEach, describe, expect, test, vi } from 'vitest'
import type { KeyStore, StoredGeneration } from '../../src/hsm/key-store.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { ckr, moduleApi } from '../support/spy-module.ts'
import { TestAuthority } from '../support/test-authority.ts'

// A disk of its own that is easily filled. Needs root; without it the tests of our own interface remain.
const disk = mkdtempSync(join(tmpdir(), 'leafkeeper-disk-'))
const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=256k', 'tmpfs', disk]).status === 0
const hsm = createTestHsm('full', mounted ? disk : undefined)
let token: HsmToken

async function newKeyStore(agentName: string): Promise<{ keys: KeyStore; active: StoredGeneration }> {
  token = await hsm.open()
  const keys = token.keyStore(agentName)
  return { keys, active: await keys.generate(0, 'EC-P256') }
}

afterEach(async () => {
  rmSync(filler, { force: true })
  vi.restoreAllMocks()
  await token.close()
})

afterAll(() => {
  if (mounted) spawnSync('umount', [disk])
  rmSync(disk, { recursive: true, force: true })
  hsm.remove()
})

const filler = join(disk, 'filler')
function fillDisk(): void {
  expect(() => {
    for (;;) appendFileSync(filler, Buffer.alloc(4096))
  }).toThrow('ENOSPC')
}

async function expectToSign(keys: KeyStore, { keyId }: StoredGeneration): Promise<void> {
  expect(await (await keys.signer(keyId)).sign(randomBytes(8), 'SHA-256')).toHaveLength(64)
}

describe.skipIf(!mounted)('when the disk is full', () => {
  test('the error says so, the other generations still work, and it goes on when there is room again', async () => {
    const { keys, active } = await newKeyStore('device-1')
    fillDisk()
    const error: unknown = await keys.generate(1, 'EC-P256').catch((thrown: unknown) => thrown)
    expect(error).toMatchObject({ code: 'HSM_TOKEN_FULL', retryable: false })
    expect(String(error)).toContain('The disk under token "full" is full')
    expect(await keys.list()).toEqual([active])
    await expectToSign(keys, active)

    const authority = await TestAuthority.root()
    const chain = await (await authority.intermediate('Lower')).issue(active.publicKey ?? Uint8Array.of())
    await expect(keys.storeCertificate(active.keyId, chain)).rejects.toMatchObject({ code: 'HSM_TOKEN_FULL' })
    expect((await keys.list())[0]).toMatchObject({ keyId: active.keyId, chain: undefined })

    rmSync(filler)
    await keys.storeCertificate(active.keyId, chain)
    expect(await keys.generate(500, 'EC-P256')).toMatchObject({ number: 500 })
    expect((await keys.list())[0]?.chain).toBeDefined()
  })
})

describe('when the token says that it is full', () => {
  test('a generation is refused with its reason, and the active one still works', async () => {
    const { keys, active } = await newKeyStore('device-2')
    refuseToGenerate(ckr('CKR_DEVICE_MEMORY'))
    await expect(keys.generate(1, 'EC-P256')).rejects.toMatchObject({
      code: 'HSM_TOKEN_FULL',
      reason: 'CKR_DEVICE_MEMORY',
    })
    await expectToSign(keys, active)
    expect(await keys.list()).toEqual([active])
  })

  test.each(['CKR_FUNCTION_FAILED', 'CKR_GENERAL_ERROR', 'CKR_DEVICE_ERROR', 'CKR_HOST_MEMORY'])(
    'but not when it says %s and there is room',
    async (reason) => {
      const { keys } = await newKeyStore('device-3')
      refuseToGenerate(ckr(reason))
      await expect(keys.generate(1, 'EC-P256')).rejects.toMatchObject({
        code: 'HSM_DEVICE_ERROR',
        reason,
        retryable: true,
      })
    },
  )
})

function refuseToGenerate(error: Error): void {
  vi.spyOn(moduleApi(hsm.module), 'C_GenerateKeyPair').mockImplementation(() => {
    throw error
  })
}

test('a key type that the token cannot make is refused with those it can', async () => {
  const { keys } = await newKeyStore('device-4')
  refuseToGenerate(ckr('CKR_MECHANISM_INVALID'))
  await expect(keys.generate(1, 'RSA-3072')).rejects.toMatchObject({
    code: 'HSM_KEY_TYPE_UNSUPPORTED',
    reason: 'CKR_MECHANISM_INVALID',
    message: expect.stringContaining('it offers EC-P256, EC-P384, RSA-2048, RSA-3072') as string,
  })
})
