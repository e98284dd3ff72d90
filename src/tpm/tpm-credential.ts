import { Secret } from '../secret.ts'
import type { TpmCredential } from '../transport/credential.ts'
import type { Tpm } from './tpm.ts'

/** What a TPM becomes a credential with. */
export interface TpmCredentialParts {
  readonly tpm: Pick<Tpm, 'publicKeys' | 'activate' | 'sign'>
  readonly registrationId: string
  /** Milliseconds since 1970. */
  readonly now: () => number
  /** How long a signature is good for, in milliseconds. */
  readonly lifetimeMs: number
}

/** After so much of its life a signature is replaced: what is left is for a TPM or a network that is away. */
const renewedAfterShare = 0.75

/** A TPM as what a device shows to DPS and to hubs. */
export function tpmCredential({ tpm, registrationId, now, lifetimeMs }: TpmCredentialParts): TpmCredential {
  return {
    registrationId,
    publicKeys: () => tpm.publicKeys(),
    activate: (blob) => tpm.activate(blob),
    async sharedAccessSignature(resource, policy) {
      const signedAt = now()
      const expiry = Math.ceil((signedAt + lifetimeMs) / 1000)
      const name = encoded(resource)
      const signature = await tpm.sign(Buffer.from(`${name}\n${expiry}`))
      const parts = [`sr=${name}`, `sig=${encoded(signature.toString('base64'))}`, `se=${expiry}`]
      if (policy !== undefined) parts.push(`skn=${policy}`)
      return {
        token: new Secret(`SharedAccessSignature ${parts.join('&')}`),
        renewAt: Math.floor(signedAt + lifetimeMs * renewedAfterShare),
      }
    },
  }
}

/** As RFC 3986 has it, which reserves more than `encodeURIComponent` knows. */
function encoded(text: string): string {
  return encodeURIComponent(text).replace(
    /[!'()*]/g,
    (sign) => `%${sign.charCodeAt(0).toString(16).toUpperCase()}`,
  )
}
