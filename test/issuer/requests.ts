import { webcrypto } from 'node:crypto'
import { Pkcs10CertificateRequestGenerator, SubjectAlternativeNameExtension } from '@peculiar/x509'
import type { DeviceId, Pem } from '../../src/brands.ts'
import type { IssueRequest } from '../../src/issuer/issuer.ts'
import 'reflect-metadata'

/** A request as the agent makes them, for a key in memory; with an alternative name, where the test wants one. */
export async function issueRequest({
  alternativeName,
  ...change
}: Partial<IssueRequest> & { readonly alternativeName?: string } = {}): Promise<IssueRequest> {
  const commonName = change.commonName ?? ('device-1' as DeviceId)
  const signing = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(signing, true, ['sign', 'verify'])
  const extensions =
    alternativeName === undefined
      ? []
      : [new SubjectAlternativeNameExtension([{ type: 'dns', value: alternativeName }])]
  const csr = await Pkcs10CertificateRequestGenerator.create(
    { name: `CN=${commonName}`, keys, extensions, signingAlgorithm: signing },
    webcrypto,
  )
  return {
    csr: `${csr.toString('pem')}\n` as Pem,
    commonName,
    requestId: 'request-1',
    reason: 'expiry',
    signal: new AbortController().signal,
    ...change,
  }
}
