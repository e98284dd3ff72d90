import {
  fromBER,
  Integer,
  ObjectIdentifier,
  OctetString,
  Sequence,
  Set as Asn1Set,
  type AsnType,
} from 'asn1js'
import { createPublicKey } from 'node:crypto'
import { LeafkeeperError } from '../errors.ts'

/** What a server wants requests to have (RFC 7030, 4.5.2; RFC 9908), as far as it is understood here. */
export interface CsrAttributes {
  /** Keys, as alternatives: `EC`, `EC-P256`, `RSA`, `RSA-2048`, or a curve by its object identifier. */
  readonly keys: readonly string[]
  /** Hashes of signatures, as alternatives: `SHA-256`. */
  readonly hashes: readonly string[]
  /** Whether a request has to be tied to its connection (RFC 7030, 3.5). */
  readonly isLinked: boolean
  /** DER of each extension that a request has to have. */
  readonly extensions: readonly Uint8Array[]
}

const challengePassword = '1.2.840.113549.1.9.7'
const extensionRequest = '1.2.840.113549.1.9.14'
const ecPublicKey = '1.2.840.10045.2.1'
const rsaEncryption = '1.2.840.113549.1.1.1'
const curves: Readonly<Record<string, string>> = {
  '1.2.840.10045.3.1.7': 'EC-P256',
  '1.3.132.0.34': 'EC-P384',
  '1.3.132.0.35': 'EC-P521',
}
/** ECDSA (RFC 5758, 3.2) and RSA (RFC 8017, A.2.4). */
const signatureHashes: Readonly<Record<string, string>> = {
  '1.2.840.10045.4.3.2': 'SHA-256',
  '1.2.840.10045.4.3.3': 'SHA-384',
  '1.2.840.10045.4.3.4': 'SHA-512',
  '1.2.840.113549.1.1.11': 'SHA-256',
  '1.2.840.113549.1.1.12': 'SHA-384',
  '1.2.840.113549.1.1.13': 'SHA-512',
}

/**
 * Reads `CsrAttrs`. What is not understood is passed over, as RFC 7030, 4.5.2 has it.
 *
 * @param der `undefined` where the server has none, which is the same as an empty sequence
 * @throws LeafkeeperError `PROTOCOL_ERROR` where it is something else
 */
export function readCsrAttributes(der: Uint8Array | undefined): CsrAttributes {
  const members = der === undefined ? [] : membersOf(der)
  return {
    keys: members.flatMap(keysIn),
    hashes: members.flatMap(({ type }) => signatureHashes[type] ?? []),
    isLinked: members.some(({ type }) => type === challengePassword),
    extensions: members.flatMap(extensionsIn),
  }
}

/**
 * Holds a request against what is wanted of its key and its signature: both were made before the server was asked.
 *
 * @param publicKey DER of the SubjectPublicKeyInfo
 * @throws LeafkeeperError `ISSUER_REFUSED`
 */
export function requireWanted(publicKey: Uint8Array, { keys, hashes }: CsrAttributes): void {
  const names = namesOf(publicKey)
  const [name = 'unknown'] = names
  if (keys.length > 0 && !keys.some((key) => names.includes(key)))
    throw new LeafkeeperError('ISSUER_REFUSED', {
      message: `The EST server wants a key of ${keys.join(' or ')}, and this one is of ${name}: start the agent with another keyType.`,
    })
  const hash = name === 'EC-P384' ? 'SHA-384' : 'SHA-256'
  if (hashes.length > 0 && !hashes.includes(hash))
    throw new LeafkeeperError('ISSUER_REFUSED', {
      message: `The EST server wants requests to be signed with ${hashes.join(' or ')}, and a key of ${name} signs with ${hash}: start the agent with another keyType.`,
    })
}

interface Member {
  readonly type: string
  /** Of an attribute; a bare object identifier has none. */
  readonly values: readonly AsnType[]
}

function membersOf(der: Uint8Array): Member[] {
  const { result, offset } = fromBER(Uint8Array.from(der))
  if (offset === -1 || !(result instanceof Sequence)) throw unreadable()
  return result.valueBlock.value.map((member) => {
    if (member instanceof ObjectIdentifier) return { type: member.valueBlock.toString(), values: [] }
    const [type, values] = member instanceof Sequence ? member.valueBlock.value : []
    if (!(type instanceof ObjectIdentifier) || !(values instanceof Asn1Set)) throw unreadable()
    return { type: type.valueBlock.toString(), values: values.valueBlock.value }
  })
}

function keysIn({ type, values }: Member): string[] {
  switch (type) {
    case ecPublicKey: {
      const named = values.flatMap((value) =>
        value instanceof ObjectIdentifier ? [value.valueBlock.toString()] : [],
      )
      return named.length === 0 ? ['EC'] : named.map((curve) => curves[curve] ?? curve)
    }
    case rsaEncryption: {
      const sizes = values.flatMap((value) =>
        value instanceof Integer ? [`RSA-${value.valueBlock.toString()}`] : [],
      )
      return sizes.length === 0 ? ['RSA'] : sizes
    }
    default:
      return []
  }
}

/**
 * Extensions with a value, as RFC 9908, 3.2 has them. Older servers give object identifiers, which say neither whether an
 * extension is meant nor what is to stand in it.
 */
function extensionsIn({ type, values }: Member): Uint8Array[] {
  if (type !== extensionRequest) return []
  return values.flatMap((value) =>
    value instanceof Sequence
      ? value.valueBlock.value.filter(isExtension).map(({ valueBeforeDecodeView }) => valueBeforeDecodeView)
      : [],
  )
}

/** RFC 5280, 4.1: object identifier, criticality, value. */
function isExtension(value: AsnType): boolean {
  const members = value instanceof Sequence ? value.valueBlock.value : []
  const last = members.at(-1)
  return (
    members[0] instanceof ObjectIdentifier &&
    last instanceof OctetString &&
    last.valueBlock.valueHexView.length > 0
  )
}

/** What a key is called, most precise first. */
function namesOf(publicKey: Uint8Array): readonly string[] {
  const { asymmetricKeyType, asymmetricKeyDetails } = createPublicKey({
    key: Buffer.from(publicKey),
    format: 'der',
    type: 'spki',
  })
  if (asymmetricKeyType === 'rsa') return [`RSA-${asymmetricKeyDetails?.modulusLength ?? ''}`, 'RSA']
  const curve = asymmetricKeyDetails?.namedCurve === 'secp384r1' ? 'EC-P384' : 'EC-P256'
  return [curve, 'EC']
}

function unreadable(): LeafkeeperError {
  return new LeafkeeperError('PROTOCOL_ERROR', {
    message: 'The EST server answered csrattrs with something that is not CsrAttrs (RFC 7030, 4.5.2).',
  })
}
