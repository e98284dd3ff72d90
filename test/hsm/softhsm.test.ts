import { randomBytes } from 'node:crypto'
import { readFileSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, describe, expect, test, vi } from 'vitest'
import { initialiseToken, type NewToken } from '../../src/hsm/initialise-token.ts'
import { prepareSoftHsm } from '../../src/hsm/softhsm.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { Secret } from '../../src/secret.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { ckr, moduleApi } from '../support/spy-module.ts'
import { TestAuthority } from '../support/test-authority.ts'

const hsm = createTestHsm()

afterAll(() => {
  hsm.remove()
})

function newToken(label: string, more: Partial<NewToken> = {}): NewToken {
  return { module: hsm.module, label, pin: hsm.pin, soPin: hsm.soPin, ...more }
}

async function opens(label: string, pin = hsm.pin): Promise<void> {
  const token: HsmToken = await hsm.open({ token: { label }, pin: { callback: () => pin } })
  await token.close()
}

describe('the folder of a SoftHSM', () => {
  test('is for its owner only, and is named by its configuration', () => {
    const folder = join(hsm.folder, 'another', 'one')
    const { SOFTHSM2_CONF: file } = prepareSoftHsm(folder)
    expect(readFileSync(file, 'utf8')).toContain(`directories.tokendir = ${join(folder, 'tokens')}\n`)
    for (const path of [folder, join(folder, 'tokens')]) expect(statSync(path).mode & 0o777).toBe(0o700)
    expect(statSync(file).mode & 0o777).toBe(0o600)
    expect(prepareSoftHsm(folder)).toEqual({ SOFTHSM2_CONF: file })
  })

  test.each(['a\nb', 'a#b'])('cannot have a path that the configuration cannot hold: %j', (name) => {
    expect(() => prepareSoftHsm(join(hsm.folder, name))).toThrow(
      expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }),
    )
  })

  test('holds nothing outside its tokens but the configuration, and nothing that others can read', async () => {
    const token = await hsm.open()
    const keys = token.keyStore('device-1')
    const { keyId, publicKey } = await keys.generate(1, 'EC-P256')
    await keys.storeCertificate(keyId, await (await TestAuthority.root()).issue(publicKey ?? Uint8Array.of()))
    await token.close()
    const files = readdirSync(hsm.folder, { recursive: true, encoding: 'utf8' }).filter(
      (name) => statSync(join(hsm.folder, name)).isFile() && !name.startsWith('another'),
    )
    expect(files.filter((name) => !name.startsWith('tokens/'))).toEqual(['softhsm2.conf'])
    for (const name of files) {
      expect(statSync(join(hsm.folder, name)).mode & 0o077).toBe(0)
      expect(readFileSync(join(hsm.folder, name), 'latin1')).not.toContain(hsm.pin.reveal())
    }
  })
})

describe('a token is initialised', () => {
  test('so that it opens with its PIN', async () => {
    expect(initialiseToken(newToken('fresh'))).toMatchObject({ label: 'fresh', module: hsm.module })
    await opens('fresh')
  })

  test('once: asked again, it stays as it is', async () => {
    const made = initialiseToken(newToken('twice'))
    const other = new Secret(randomBytes(6).toString('hex'))
    expect(initialiseToken(newToken('twice', { pin: other, soPin: other }))).toEqual(made)
    await opens('twice')
  })

  test('to its end after it was cut off before the user PIN', async () => {
    const spy = vi.spyOn(moduleApi(hsm.module), 'C_InitPIN').mockImplementationOnce(() => {
      throw ckr('CKR_DEVICE_ERROR')
    })
    expect(() => initialiseToken(newToken('cut-off'))).toThrow(
      expect.objectContaining({ code: 'HSM_DEVICE_ERROR', reason: 'CKR_DEVICE_ERROR' }),
    )
    spy.mockRestore()
    await expect(opens('cut-off')).rejects.toMatchObject({
      code: 'HSM_PIN_LOCKED',
      reason: 'CKR_USER_PIN_NOT_INITIALIZED',
    })
    initialiseToken(newToken('cut-off'))
    await opens('cut-off')
  })

  test('with a label of 32 bytes, which are not 32 characters', async () => {
    const label = 'ü'.repeat(16)
    expect(initialiseToken(newToken(label)).label).toBe(label)
    await opens(label)
  })

  test.each(['', ' padded', 'x'.repeat(33), 'ü'.repeat(17)])('but not with the label %j', (label) => {
    expect(() => initialiseToken(newToken(label))).toThrow(
      expect.objectContaining({ code: 'AGENT_CONFIG_INVALID' }),
    )
  })
})
