import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { loadProfile } from '../../src/hsm/profile.ts'
import { newHsmCredential } from '../support/hsm-credential.ts'
import { startMutualTls, type MutualTls } from '../support/mutual-tls.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { TestAuthority } from '../support/test-authority.ts'

const hsm = createTestHsm()
const folder = mkdtempSync(join(tmpdir(), 'leafkeeper-engine-'))
let authority: TestAuthority
let server: MutualTls

beforeAll(async () => {
  authority = await TestAuthority.root()
  server = await startMutualTls(authority)
})

afterAll(() => {
  server.close()
  hsm.remove()
  rmSync(folder, { recursive: true })
})

// One process, in this order: an engine that is missing must not spoil the process for one that is there.
test.each([
  ['is not there', { engine: '/does/not/exist/pkcs11.so' }, 'not found at /does/not/exist/pkcs11.so'],
  [
    'is in none of the usual places',
    { profile: { ...loadProfile('softhsm'), engine: [] } },
    'any usual place',
  ],
  ['has another name', { engine: file('other.so') }, 'other.so'],
  ['is no library', { engine: file('pkcs11.so') }, 'could not load'],
])('an engine that %s is named, and the keys stay usable', async (_what, options, said) => {
  const token = await hsm.open(options)
  const { keyId, keyUri, chain } = await newHsmCredential(token, authority, 'device-1')
  expect(() => token.tls.secureContext(keyUri, chain, authority.pem)).toThrow(
    expect.objectContaining({
      code: 'TLS_ENGINE_MISSING',
      message: expect.stringContaining(said) as string,
    }),
  )
  const signer = await token.keyStore('device-1').signer(keyId)
  expect(await signer.sign(Buffer.from('x'), 'SHA-256')).toHaveLength(64)
  await token.close()
})

test('an engine that is there afterwards works', async () => {
  const token = await hsm.open()
  const { keyUri, chain } = await newHsmCredential(token, authority, 'device-1')
  const context = token.tls.secureContext(keyUri, chain, authority.pem)
  expect(await server.handshake(context)).toBe('device-1 TLSv1.3')
  await token.close()
})

function file(name: string): string {
  const path = join(folder, name)
  writeFileSync(path, 'not a library')
  return path
}
