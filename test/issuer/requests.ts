import { webcrypto } from 'node:crypto'
import { Pkcs10CertificateRequestGenerator } from '@peculiar/x509'
import type { DeviceId, Pem } from '../../src/brands.ts'
import type { IssueRequest } from '../../src/issuer/issuer.ts'
import 'reflect-metadata'

/** A request as the agent makes them, for a key in memory. */
export async function issueRequest(change: Partial<IssueRequest> = {}): Promise<IssueRequest> {
  const commonName = change.commonName ?? ('device-1' as DeviceId)
  const signing = { name: 'ECDSA', namedCurve: 'P-256', hash: 'SHA-256' }
  const keys = await webcrypto.subtle.generateKey(signing, true, ['sign', 'verify'])
  const csr = await Pkcs10CertificateRequestGenerator.create(
    { name: `CN=${commonName}`, keys, signingAlgorithm: signing },
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
