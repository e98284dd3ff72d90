import { webcrypto } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { createCertificateRequest } from '../../src/certificate/request.ts'
import * as x509 from '../../src/certificate/x509.ts'
import type { KeyType } from '../../src/hsm/key-store.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import { createTestHsm } from '../support/softhsm.ts'

const hsm = createTestHsm()
let token: HsmToken

beforeAll(async () => {
  token = await hsm.open()
})

afterAll(async () => {
  await token.close()
  hsm.remove()
})

describe.each<KeyType>(['EC-P256', 'EC-P384', 'RSA-2048', 'RSA-3072'])(
  'a request for an %s key',
  (keyType) => {
    test('is signed by the key inside the HSM and carries its public key', async () => {
      const keys = token.keyStore(`agent-${keyType}`)
      const signer = await keys.signer((await keys.generate(1, keyType)).keyId)
      const csr = await createCertificateRequest({ signer, subject: { commonName: 'device-1' } })
      const request = new x509.Pkcs10CertificateRequest(csr)
      expect(await request.verify(webcrypto)).toBe(true)
      expect(Buffer.from(request.publicKey.rawData)).toEqual(Buffer.from(signer.publicKey))
      expect(request.subject).toBe('CN=device-1')
    })
  },
)
