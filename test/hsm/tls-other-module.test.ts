import { copyFileSync } from 'node:fs'
import { join } from 'node:path'
import { afterAll, expect, test } from 'vitest'
import { newHsmCredential } from '../support/hsm-credential.ts'
import { createTestHsm } from '../support/softhsm.ts'
import { TestAuthority } from '../support/test-authority.ts'

const hsm = createTestHsm()

afterAll(() => {
  hsm.remove()
})

test('a second module in one process keeps keys, but TLS with it is refused', async () => {
  const authority = await TestAuthority.root()
  const copy = join(hsm.folder, 'libsofthsm2-copy.so')
  copyFileSync(hsm.module, copy)
  const [first, second] = [await hsm.open(), await hsm.open({ module: copy })]
  const one = await newHsmCredential(first, authority, 'device-1')
  const other = await newHsmCredential(second, authority, 'device-2')
  first.tls.secureContext(one.keyUri, one.chain, undefined)
  expect(() => second.tls.secureContext(other.keyUri, other.chain, undefined)).toThrow(
    expect.objectContaining({
      code: 'TLS_ENGINE_OTHER_MODULE',
      message: expect.stringContaining(copy) as string,
    }),
  )
  const signer = await second.keyStore('device-2').signer(other.keyId)
  expect(await signer.sign(Buffer.from('x'), 'SHA-256')).toHaveLength(64)
  await second.close()
  await first.close()
})
