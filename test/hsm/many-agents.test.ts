import { readdirSync } from 'node:fs'
import { afterAll, beforeAll, expect, test, vi } from 'vitest'
import type { HsmToken } from '../../src/hsm/token.ts'
import { newHsmCredential } from '../support/hsm-credential.ts'
import { startMutualTls } from '../support/mutual-tls.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { moduleApi } from '../support/spy-module.ts'
import { TestAuthority } from '../support/test-authority.ts'

const agents = 200
const hsm = createTestHsm()
let tokens: HsmToken[]

beforeAll(async () => {
  tokens = await Promise.all(Array.from({ length: agents }, () => hsm.open()))
})

afterAll(async () => {
  await Promise.all(tokens.map((token) => token.close()))
  hsm.remove()
})

test('two hundred agents on one token generate, certify, list, connect, roll and destroy', async () => {
  const authority = await TestAuthority.root()
  const server = await startMutualTls(authority)
  const search = vi.spyOn(moduleApi(hsm.module), 'C_FindObjectsInit')
  const stories = tokens.map(async (token, index) => {
    const name = `device-${index}`
    const keys = token.keyStore(name)
    expect(await keys.list()).toEqual([])
    const old = await newHsmCredential(token, authority, name, { number: 1 })
    await keys.storeCertificate(old.keyId, old.chain)
    const next = await newHsmCredential(token, authority, name, { number: 2 })
    await keys.storeCertificate(next.keyId, next.chain)
    const context = token.tls.secureContext(next.keyUri, next.chain, authority.pem)
    expect(await server.handshake(context)).toBe(`${name} TLSv1.3`)
    await keys.destroy(old.keyId)
    expect((await keys.list()).map(({ number, chain }) => [number, chain !== undefined])).toEqual([[2, true]])
  })
  await Promise.all(stories)
  server.close()
  // The token is not searched once an agent: that would take the square of their number.
  expect(search.mock.calls.length).toBeLessThan(agents / 10)
}, 120_000)

test('what is on disk are three objects an agent', () => {
  const files = readdirSync(hsm.folder, { recursive: true, encoding: 'utf8' })
  const objects = files.filter((name) => name.endsWith('.object') && !name.endsWith('token.object'))
  expect(objects).toHaveLength(3 * agents)
})
