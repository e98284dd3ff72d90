import 'reflect-metadata'
import * as x509 from '@peculiar/x509'
import { createPrivateKey, webcrypto } from 'node:crypto'
import { createSecureContext } from 'node:tls'
import type { DeviceId, Pem } from '../../../src/brands.ts'
import type { DeviceCredential } from '../../../src/transport/credential.ts'

/** A key in a file and its certificate: what the tests of the transport use in place of an HSM. */
export interface Identity {
  readonly certificate: string
  readonly key: string
}

/** An authority of one test run. */
export interface Authority {
  readonly certificate: string
  /** A server certificate for these names. */
  server(names: readonly string[], validity?: { readonly from: Date; readonly to: Date }): Promise<Identity>
  client(commonName: string): Promise<Identity>
}

const algorithm = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' } as const
const day = 86_400_000

export async function makeAuthority(name = 'Test authority'): Promise<Authority> {
  const keys = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  const root = await x509.X509CertificateGenerator.createSelfSigned({
    name: `CN=${name}`,
    keys,
    signingAlgorithm: algorithm,
    notBefore: new Date(Date.now() - day),
    notAfter: new Date(Date.now() + 365 * day),
    extensions: [new x509.BasicConstraintsExtension(true, 1, true)],
  })
  const issue = async (
    subject: string,
    usage: string,
    names: readonly string[],
    validity = { from: new Date(Date.now() - day), to: new Date(Date.now() + 30 * day) },
  ): Promise<Identity> => {
    const leaf = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
    const certificate = await x509.X509CertificateGenerator.create({
      subject: `CN=${subject}`,
      issuer: root.subject,
      publicKey: leaf.publicKey,
      signingKey: keys.privateKey,
      signingAlgorithm: algorithm,
      notBefore: validity.from,
      notAfter: validity.to,
      extensions: [
        new x509.ExtendedKeyUsageExtension([usage]),
        ...(names.length === 0
          ? []
          : [
              new x509.SubjectAlternativeNameExtension(
                names.map((value) => ({ type: /^[\d.]+$/.test(value) ? 'ip' : 'dns', value })),
              ),
            ]),
      ],
    })
    const pkcs8 = Buffer.from(await webcrypto.subtle.exportKey('pkcs8', leaf.privateKey))
    const key = createPrivateKey({ key: pkcs8, format: 'der', type: 'pkcs8' })
    return {
      certificate: certificate.toString('pem'),
      key: key.export({ format: 'pem', type: 'pkcs8' }).toString(),
    }
  }
  return {
    certificate: root.toString('pem'),
    server: (names, validity) =>
      issue(names[0] ?? 'server', x509.ExtendedKeyUsage.serverAuth, names, validity),
    client: (commonName) => issue(commonName, x509.ExtendedKeyUsage.clientAuth, []),
  }
}

/** A credential whose key is in a file. */
export function credentialOf(commonName: string, { certificate, key }: Identity): DeviceCredential {
  return {
    commonName: commonName as DeviceId,
    chain: certificate as Pem,
    keyUri: 'pkcs11:object=test;type=private',
    secureContext: (ca, maxVersion) =>
      createSecureContext({
        cert: certificate,
        key,
        ...(ca === undefined ? {} : { ca }),
        ...(maxVersion === undefined ? {} : { maxVersion }),
      }),
  }
}
