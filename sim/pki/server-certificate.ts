import { X509Certificate } from 'node:crypto'
import { ExtendedKeyUsage, type JsonGeneralNames } from './x509.ts'
import { generateKeyFile } from './keys.ts'
import { TestAuthority } from './test-authority.ts'

/** What the cloud's TLS listener shows, and who has signed it. */
export interface ServerCredential {
  /** PKCS#8, as PEM. */
  readonly key: string
  /** The server's certificate, as PEM. */
  readonly certificate: string
  /** The throw-away authority to trust, as PEM. */
  readonly authority: string
}

/**
 * Makes a server certificate for the given host names and for this machine's loopback addresses.
 *
 * @param addresses - more of them than the usual ones
 */
export async function createServerCredential(
  hostNames: readonly string[],
  addresses: readonly string[] = [],
): Promise<ServerCredential> {
  const authority = await TestAuthority.createRoot({ commonName: 'server authority' })
  const key = await generateKeyFile()
  const alternativeNames: JsonGeneralNames = [
    ...['localhost', ...hostNames].map((value) => ({ type: 'dns' as const, value })),
    ...[...new Set(['127.0.0.1', '::1', ...addresses])].map((value) => ({ type: 'ip' as const, value })),
  ]
  const leaf = await authority.issueLeaf({
    publicKey: key.publicKey,
    commonName: 'leafkeeper TEST server',
    extendedKeyUsage: [ExtendedKeyUsage.serverAuth],
    alternativeNames,
  })
  return { key: key.privateKeyPem, certificate: leaf.certificate, authority: authority.certificate }
}

/** Whether a server's certificate names an address: clients that connect to an address look for it there. */
export function isServerFor({ certificate }: ServerCredential, address: string): boolean {
  return new X509Certificate(certificate).checkIP(address) !== undefined
}
