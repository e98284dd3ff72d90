import { X509Certificate } from 'node:crypto'
import fc from 'fast-check'
import { beforeAll, expect, test } from 'vitest'
import * as x509 from '../../src/certificate/x509.ts'
import { certificateNames } from '../../src/hsm/certificate-names.ts'
import { certificatesInPem, toPem } from '../../src/hsm/pem.ts'
import { TestAuthority } from '../support/test-authority.ts'

let der: Buffer

beforeAll(async () => {
  const root = await TestAuthority.root('Test Root')
  const chain = await root.issue(new Uint8Array(root.certificate.publicKey.rawData), {
    subject: 'O=Acme, CN=device-1',
  })
  der = new X509Certificate(chain).raw
})

test('subject, issuer and serial number are cut out as DER', () => {
  const { subject, issuer, serialNumber } = certificateNames(der)
  const certificate = new x509.X509Certificate(Uint8Array.from(der))
  expect(subject).toEqual(Buffer.from(certificate.subjectName.toArrayBuffer()))
  expect(issuer).toEqual(Buffer.from(certificate.issuerName.toArrayBuffer()))
  expect(serialNumber.subarray(2).toString('hex').replace(/^00/, '')).toBe(
    certificate.serialNumber.replace(/^00/, ''),
  )
})

test('whatever else it is given, it says that it is no certificate, and reads no byte beyond its end', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 80 }), fc.nat(600), (bytes, at) => {
      const changed = Buffer.from(der)
      changed.set(bytes.subarray(0, Math.max(0, changed.length - at)), at % changed.length)
      for (const input of [Buffer.from(bytes), changed, der.subarray(0, at)]) {
        try {
          for (const part of Object.values(certificateNames(input))) {
            expect((part as Buffer).length).toBeLessThanOrEqual(input.length)
          }
        } catch (error) {
          expect(error).toMatchObject({ code: 'CERT_UNREADABLE' })
        }
      }
    }),
  )
})

test('PEM is written and read back, whatever the bytes', () => {
  fc.assert(
    fc.property(fc.array(fc.uint8Array({ minLength: 1, maxLength: 200 })), (certificates) => {
      const pem = toPem(certificates)
      expect(certificatesInPem(pem)).toEqual(certificates.map((each) => Buffer.from(each)))
      expect(pem.split('\n').every((line) => line.length <= 64)).toBe(true)
    }),
  )
})
