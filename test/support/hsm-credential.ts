import type { KeyId, Pem } from '../../src/brands.ts'
import type { KeyType } from '../../src/hsm/key-store.ts'
import type { HsmToken } from '../../src/hsm/token.ts'
import type { TestAuthority } from './test-authority.ts'

/** A key on a token with a certificate for it. */
export interface HsmCredential {
  readonly keyId: KeyId
  readonly keyUri: string
  readonly chain: Pem
}

/** Generates a key pair and has it certified under the agent's name. */
export async function newHsmCredential(
  token: HsmToken,
  authority: TestAuthority,
  agentName: string,
  { keyType = 'EC-P256', number = 1 }: { keyType?: KeyType; number?: number } = {},
): Promise<HsmCredential> {
  const keys = token.keyStore(agentName)
  const { keyId, publicKey } = await keys.generate(number, keyType)
  if (publicKey === undefined) throw new TypeError('no public key')
  const chain = await authority.issue(publicKey, { commonName: agentName })
  return { keyId, keyUri: keys.keyUri(keyId), chain }
}
