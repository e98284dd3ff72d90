import { createVerify, randomBytes, X509Certificate } from 'node:crypto'
import pkcs11, { type Handle, type PKCS11 } from 'pkcs11js'
import type { KeyId, Pem } from '../brands.ts'
import { LeafkeeperError } from '../errors.ts'
import { findObjects, readAttributes, template, type AttributeName } from './attributes.ts'
import { certificateTemplate } from './key-template.ts'
import type { KeyType } from './key-store.ts'
import { keyTypes } from './key-types.ts'
import { objectLabel, readObjectLabel } from './object-name.ts'
import type { ObjectIndex } from './object-index.ts'
import { certificatesInPem } from './pem.ts'
import { parsePkcs11Uri } from './pkcs11-uri.ts'
import { readPublicKey, toPublicKey } from './public-key.ts'
import { chainOf } from './stored-generation.ts'
import type { TokenConnection } from './token-connection.ts'
import { signOnToken } from './token-signer.ts'

/** A key pair that is on the token already, and its certificate. */
export interface ExistingKey {
  /** Names the private key: an RFC 7512 URI with `id`, `object` or both. What it says of the token is not looked at. */
  readonly key: string
  /** PEM, leaf first, where the token has no certificate for the key. */
  readonly chain?: string
}

/** Whose generation the key becomes. */
export interface Adopter {
  readonly agentName: string
  readonly number: number
  /** Looks at the chain before anything is changed; throws where it will not do. */
  readonly check: (chain: Pem) => void
}

interface Survey {
  readonly keyId: KeyId
  readonly privateKey: Handle
  readonly publicKeys: readonly Handle[]
  readonly certificates: readonly { readonly handle: Handle; readonly der: Buffer }[]
  readonly chain: Pem
  readonly leaf: X509Certificate
  readonly keyType: KeyType
}

/**
 * Makes a key pair that somebody else put on the token a generation of an agent: its objects get the agent's label, and
 * what is missing is added, the private key's label last. The key itself, its `CKA_ID` and what it may do stay as they
 * are. May be done again after a crash.
 *
 * @returns false where the token has no such key
 * @throws LeafkeeperError `HSM_URI_INVALID`, `AGENT_CONFIG_INVALID`, `HSM_KEY_EXISTS`, `HSM_KEY_TYPE_UNSUPPORTED`,
 * `CERT_KEY_MISMATCH`, `CERT_UNREADABLE`
 */
export async function adoptKey(
  { connection, index }: { readonly connection: TokenConnection; readonly index: ObjectIndex },
  existing: ExistingKey,
  { agentName, number, check }: Adopter,
): Promise<boolean> {
  return connection.turns.run(async () => {
    const survey = connection.now('look at the key to adopt', (api, session) =>
      surveyKey(api, session, existing, agentName),
    )
    if (survey === undefined) return false
    check(survey.chain)
    await proveKey(connection, survey)
    try {
      connection.now('adopt a key', (api, session) => {
        takeOver(api, session, survey, objectLabel(agentName, number))
      })
    } finally {
      index.invalidate()
    }
    return true
  })
}

function surveyKey(
  api: PKCS11,
  session: Handle,
  { key, chain }: ExistingKey,
  agentName: string,
): Survey | undefined {
  const { id, object } = parsePkcs11Uri(key)
  if (id === undefined && object === undefined)
    throw invalid('a PKCS#11 URI with id, object or both, such as pkcs11:object=device-key;id=%01')
  const named = {
    ...(id === undefined ? {} : { CKA_ID: Buffer.from(id) }),
    ...(object === undefined ? {} : { CKA_LABEL: object }),
  }
  const find = (kind: number, more: Parameters<typeof template>[0]): Handle[] =>
    findObjects(api, session, template({ CKA_CLASS: kind, ...more }))
  const [privateKey, ...others] = find(pkcs11.CKO_PRIVATE_KEY, named)
  if (privateKey === undefined) return undefined
  if (others.length > 0) throw invalid(`the name of one private key; ${others.length + 1} have it`)
  const { CKA_ID, CKA_LABEL } = readAttributes(api, session, privateKey, ['CKA_ID', 'CKA_LABEL'])
  if (CKA_ID.length === 0)
    throw invalid('a private key with a CKA_ID, by which TLS finds it; this one has none')
  if (find(pkcs11.CKO_PRIVATE_KEY, { CKA_ID }).length > 1)
    throw exists('another private key has the same CKA_ID, so that TLS could take the wrong one')
  const owner = readObjectLabel(CKA_LABEL.toString('utf8'))
  if (owner !== undefined && owner.agentName !== agentName)
    throw exists(`it belongs to the agent ${owner.agentName}`)

  const publicKeys = find(pkcs11.CKO_PUBLIC_KEY, { CKA_ID })
  const beside = certificatesOf(api, session, find(pkcs11.CKO_CERTIFICATE, { CKA_ID }))
  const anywhere = certificatesOf(api, session, find(pkcs11.CKO_CERTIFICATE, { CKA_TOKEN: true }))
  const brought = chain === undefined ? [] : certificatesInPem(chain)
  const [publicKey] = publicKeys
  const spki =
    (publicKey && readPublicKey(api, session, publicKey)?.spki) ??
    spkiOf(brought[0] ?? beside.find(({ der }) => isLeaf(der))?.der)
  const found = chain === undefined ? anywhere.map(({ der }) => der) : brought
  const complete = spki && chainOf(spki, found)
  if (complete === undefined)
    throw new LeafkeeperError(chain === undefined ? 'AGENT_CONFIG_INVALID' : 'CERT_KEY_MISMATCH', {
      message:
        chain === undefined
          ? 'Expected a certificate for the key to adopt, on the token or in adopt.certificate; there is none.'
          : 'The certificate in adopt.certificate is not for the key to adopt.',
    })
  const [leaf] = certificatesInPem(complete)
  const certificate = new X509Certificate(leaf ?? Buffer.alloc(0))
  const { keyType } = toPublicKey(certificate.publicKey)
  if (keyType === undefined)
    throw new LeafkeeperError('HSM_KEY_TYPE_UNSUPPORTED', {
      message: `Expected the key to adopt to be one of ${Object.keys(keyTypes).join(', ')}.`,
    })
  return {
    keyId: CKA_ID.toString('hex') as KeyId,
    privateKey,
    publicKeys,
    certificates: beside,
    chain: complete,
    leaf: certificate,
    keyType,
  }
}

/** A signature shows that the private key is the certificate's: labels and ids are only what somebody wrote there. */
async function proveKey(connection: TokenConnection, { privateKey, leaf, keyType }: Survey): Promise<void> {
  const data = randomBytes(32)
  const hash = keyType === 'EC-P384' ? 'SHA-384' : 'SHA-256'
  const signature = await connection.later('sign with the key to adopt', (api, session) =>
    signOnToken(api, session, privateKey, { keyType, data, hash }),
  )
  const verify = createVerify(hash.replace('-', '')).update(data)
  if (verify.verify({ key: leaf.publicKey, dsaEncoding: 'ieee-p1363' }, signature)) return
  throw new LeafkeeperError('CERT_KEY_MISMATCH', {
    message: 'What the key to adopt signs does not fit its certificate.',
  })
}

function takeOver(api: PKCS11, session: Handle, survey: Survey, label: string): void {
  const { keyId, keyType, leaf, chain, certificates, publicKeys, privateKey } = survey
  const name = { keyId, label }
  if (publicKeys.length === 0)
    api.C_CreateObject(session, template({ ...publicKeyAttributes(leaf, keyType), ...idAndLabel(name) }))
  const isThere = (der: Buffer): boolean => certificates.some((other) => other.der.equals(der))
  for (const der of certificatesInPem(chain)
    .toReversed()
    .filter((each) => !isThere(each)))
    api.C_CreateObject(session, certificateTemplate(der, name))
  const relabel = template({ CKA_LABEL: label })
  for (const handle of [...publicKeys, ...certificates.map((each) => each.handle), privateKey])
    api.C_SetAttributeValue(session, handle, relabel)
}

function idAndLabel({ keyId, label }: { readonly keyId: KeyId; readonly label: string }): {
  CKA_ID: Buffer
  CKA_LABEL: string
} {
  return { CKA_ID: Buffer.from(keyId, 'hex'), CKA_LABEL: label }
}

/** What a public key object of a certificate's key consists of. */
function publicKeyAttributes(
  { publicKey }: X509Certificate,
  keyType: KeyType,
): Partial<Record<AttributeName, number | boolean | Buffer>> {
  const { family, parameters } = keyTypes[keyType]
  const jwk = publicKey.export({ format: 'jwk' })
  const part = (value: string | undefined): Buffer => Buffer.from(value ?? '', 'base64url')
  const common = {
    CKA_CLASS: pkcs11.CKO_PUBLIC_KEY,
    CKA_KEY_TYPE: family,
    CKA_TOKEN: true,
    CKA_PRIVATE: false,
    CKA_VERIFY: true,
  }
  if (family === pkcs11.CKK_RSA)
    return { ...common, CKA_MODULUS: part(jwk.n), CKA_PUBLIC_EXPONENT: part(jwk.e) }
  const point = Buffer.concat([Buffer.from([4]), part(jwk.x), part(jwk.y)])
  // DER OCTET STRING (PKCS#11 v2.40, Current Mechanisms, 2.3.3); a point has less than 128 bytes.
  const { CKA_EC_PARAMS } = parameters
  return {
    ...common,
    ...(CKA_EC_PARAMS === undefined ? {} : { CKA_EC_PARAMS }),
    CKA_EC_POINT: Buffer.concat([Buffer.from([4, point.length]), point]),
  }
}

function certificatesOf(
  api: PKCS11,
  session: Handle,
  handles: readonly Handle[],
): { handle: Handle; der: Buffer }[] {
  return handles.map((handle) => ({
    handle,
    der: readAttributes(api, session, handle, ['CKA_VALUE']).CKA_VALUE,
  }))
}

function isLeaf(der: Buffer): boolean {
  const certificate = readable(der)
  return certificate !== undefined && !certificate.ca
}

function spkiOf(der: Buffer | undefined): Uint8Array | undefined {
  const certificate = der && readable(der)
  return certificate && toPublicKey(certificate.publicKey).spki
}

function readable(der: Buffer): X509Certificate | undefined {
  try {
    return new X509Certificate(der)
  } catch {
    return undefined
  }
}

function invalid(expected: string): LeafkeeperError {
  return new LeafkeeperError('AGENT_CONFIG_INVALID', { message: `Expected adopt.key to be ${expected}.` })
}

function exists(why: string): LeafkeeperError {
  return new LeafkeeperError('HSM_KEY_EXISTS', { message: `The key to adopt was left alone: ${why}.` })
}
