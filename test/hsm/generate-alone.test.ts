import { randomBytes } from 'node:crypto'
import { setImmediate as turn } from 'node:timers/promises'
import { afterAll, afterEach, expect, test, vi } from 'vitest'
import { loadProfile } from '../../src/hsm/profile.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { moduleApi } from '../support/spy-module.ts'

const hsm = createTestHsm()
const opened: HsmToken[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  await Promise.all(opened.splice(0).map((token) => token.close()))
})
afterAll(() => {
  hsm.remove()
})

async function open(...options: Parameters<typeof hsm.open>): Promise<HsmToken> {
  const token = await hsm.open(...options)
  opened.push(token)
  return token
}

// Where others could look while SoftHSM generates, this test fails in each run: with CKR_GENERAL_ERROR, a key pair that
// is not found, or a crash. An agent that starts would then wait for its first key for ever.
test('on SoftHSM, agents open the token, read it and sign while another one generates', async () => {
  const generations = 200
  const signing = (await open()).keyStore('signer')
  const { keyId } = await signing.generate(1, 'EC-P256')
  const signer = await signing.signer(keyId)
  const keys = (await open()).keyStore('generator')
  let isDone = false
  const counts = { opened: 0, signed: 0 }

  const generate = async (): Promise<void> => {
    for (let number = 1; number <= generations; number += 1) {
      const { keyId: made } = await keys.generate(number, 'EC-P256')
      await turn()
      if (number % 2 === 0) await keys.destroy(made)
    }
    isDone = true
  }
  const read = async (): Promise<void> => {
    while (!isDone) {
      const token = await hsm.open()
      expect(await token.keyStore(`reader-${counts.opened}`).list()).toEqual([])
      await token.close()
      counts.opened += 1
      await turn()
    }
  }
  const sign = async (): Promise<void> => {
    while (!isDone) {
      expect(await signer.sign(randomBytes(8), 'SHA-256')).toHaveLength(64)
      counts.signed += 1
    }
  }
  await Promise.all([generate(), read(), sign(), sign()])
  expect(await keys.list()).toHaveLength(generations / 2)
  expect(counts.opened).toBeGreaterThan(10)
  expect(counts.signed).toBeGreaterThan(10)
})

test('a module without that trouble generates off the main thread', async () => {
  const profile = loadProfile('softhsm')
  const { generatesAlone: _, ...quirks } = profile.quirks
  const token = await open({ profile: { ...profile, quirks } })
  const spy = vi.spyOn(moduleApi(hsm.module), 'C_GenerateKeyPairAsync')
  const other = vi.spyOn(moduleApi(hsm.module), 'C_GenerateKeyPair')
  await token.keyStore('elsewhere').generate(1, 'EC-P256')
  expect(spy).toHaveBeenCalledTimes(1)
  expect(other).not.toHaveBeenCalled()
})
