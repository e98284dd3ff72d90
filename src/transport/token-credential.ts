import type { DeviceId } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import { openToken, type OpenTokenOptions } from '../hsm/open-token.ts'
import type { DeviceCredential } from './credential.ts'

/** A certificate whose key is on a token, under a name of its own; the newest one, where there are several. */
export interface TokenCertificate {
  readonly token: OpenTokenOptions
  /** As the agent name of a key store; not that of the agent itself. */
  readonly keyName: string
}

/**
 * Opens a certificate that is on a token, for as long as the work takes.
 *
 * @param commonName whom the device says that it is; the certificate may have another name
 * @throws LeafkeeperError `HSM_*` where the token or its key cannot be used, and what the work throws
 */
export async function withTokenCertificate<Result>(
  { token: options, keyName }: TokenCertificate,
  commonName: DeviceId,
  work: (credential: DeviceCredential) => Promise<Result>,
): Promise<Result> {
  const token = await openToken(options)
  try {
    const keys = token.keyStore(keyName)
    const complete = (await keys.list()).filter(
      ({ chain, hasPrivateKey }) => chain !== undefined && hasPrivateKey,
    )
    const newest = complete.at(-1)
    if (newest?.chain === undefined)
      throw new LeafkeeperError('HSM_KEY_NOT_FOUND', {
        message: `Expected a key with its certificate under the name ${keyName} on the token ${token.description.label}; there is none.`,
      })
    const { chain, keyId } = newest
    const keyUri = keys.keyUri(keyId)
    return await work({
      commonName,
      chain,
      keyUri,
      secureContext: (trustedAuthorities, maxVersion) =>
        token.tls.secureContext(keyUri, chain, trustedAuthorities, maxVersion),
    })
  } finally {
    await token.close()
  }
}
