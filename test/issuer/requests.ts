import { webcrypto } from 'node:crypto'
import { SubjectAlternativeNameExtension } from '@peculiar/x509'
import type { DeviceId } from '../../src/brands.ts'
import { createCertificateRequest } from '../../src/certificate/request.ts'
import type { HsmSigner } from '../../src/hsm/key-store.ts'
import type { IssueRequest } from '../../src/issuer/issuer.ts'
import 'reflect-metadata'

/**
 * A request as the agent makes them, for a key in memory: with the names of the credential where there is one and the
 * test names no other, and with an alternative name where the test wants one.
 */
export async function issueRequest({
  alternativeName,
  ...change
}: Partial<IssueRequest> & { readonly alternativeName?: string } = {}): Promise<IssueRequest> {
  const commonName = change.commonName ?? ('device-1' as DeviceId)
  const { credential } = change
  const signer = await memorySigner()
  const names =
    alternativeName === undefined
      ? []
      : [new SubjectAlternativeNameExtension([{ type: 'dns', value: alternativeName }])]
  const sign: IssueRequest['sign'] = ({ extensions = [], ...additions }) =>
    createCertificateRequest({
      signer,
      subject:
        change.commonName === undefined && credential !== undefined ? credential.chain : { commonName },
      additions: {
        ...additions,
        extensions: [...names.map(({ rawData }) => new Uint8Array(rawData)), ...extensions],
      },
    })
  return {
    csr: await sign({}),
    sign,
    commonName,
    requestId: 'request-1',
    reason: 'expiry',
    signal: new AbortController().signal,
    ...change,
  }
}

async function memorySigner(): Promise<HsmSigner> {
  const algorithm = { name: 'ECDSA', namedCurve: 'P-256' }
  const { publicKey, privateKey } = await webcrypto.subtle.generateKey(algorithm, true, ['sign', 'verify'])
  return {
    keyType: 'EC-P256',
    publicKey: new Uint8Array(await webcrypto.subtle.exportKey('spki', publicKey)),
    sign: async (data, hash) =>
      new Uint8Array(await webcrypto.subtle.sign({ ...algorithm, hash }, privateKey, Uint8Array.from(data))),
  }
}
