import { webcrypto } from 'node:crypto'
import {
  AuthorityKeyIdentifierExtension,
  BasicConstraintsExtension,
  ExtendedKeyUsage,
  ExtendedKeyUsageExtension,
  type Extension,
  type JsonGeneralNames,
  type JsonName,
  KeyUsageFlags,
  KeyUsagesExtension,
  Pkcs10CertificateRequest,
  SubjectAlternativeNameExtension,
  SubjectKeyIdentifierExtension,
  type X509Certificate,
  X509CertificateGenerator,
} from './x509.ts'
import { randomSerialNumber, validFor } from './certificate-fields.ts'
import { signingAlgorithm, type KeyType } from './keys.ts'
import { thumbprint256 } from './thumbprint.ts'

/**
 * What to sign. The subject, the alternative names and the public key come from the request; every other field
 * overrides what the request says, so that a test can have a leaf that is wrong in exactly one way.
 */
export interface LeafOrder {
  /** A PKCS#10 request, as PEM. */
  readonly csr?: string
  /** In place of a request, or another key than the one the request was signed with. */
  readonly publicKey?: webcrypto.CryptoKey
  /** In place of a request, or another common name than the one that was asked for. */
  readonly commonName?: string
  /** Default: yesterday. */
  readonly notBefore?: Date
  /** Default: in ninety days. */
  readonly notAfter?: Date
  /** Object identifiers; empty leaves the extension out. Default: client authentication. */
  readonly extendedKeyUsage?: readonly string[]
  /** Default: digital signature. */
  readonly keyUsage?: KeyUsageFlags
  /** In place of the names in the request. */
  readonly alternativeNames?: JsonGeneralNames
}

/** A signed leaf. */
export interface IssuedLeaf {
  /** The leaf alone, as PEM. */
  readonly certificate: string
  /** What the device presents: the leaf, then the intermediates without the root, as PEM. */
  readonly chain: string
  /** SHA-256, upper-case hex. */
  readonly thumbprint: string
  readonly notBefore: Date
  readonly notAfter: Date
}

/** Who signs. */
export interface LeafSigner {
  readonly certificate: X509Certificate
  readonly keyType: KeyType
  readonly privateKey: webcrypto.CryptoKey
  /** PEM to put below the leaf in its chain. */
  readonly presented: string
}

/** Signs a leaf. @throws Error when the request is not signed by its own key, or the order names no subject or key */
export async function issueLeaf(order: LeafOrder, signer: LeafSigner): Promise<IssuedLeaf> {
  const request = order.csr === undefined ? undefined : await readRequest(order.csr)
  const publicKey = order.publicKey ?? request?.publicKey
  if (publicKey === undefined) {
    throw new Error('A leaf needs a public key: expected `csr` or `publicKey`, neither came.')
  }
  const { notBefore, notAfter } = { ...validFor(90), ...definedDates(order) }
  const leaf = await X509CertificateGenerator.create(
    {
      serialNumber: randomSerialNumber(),
      subject: subjectOf(order, request),
      issuer: signer.certificate.subjectName.toJSON(),
      notBefore,
      notAfter,
      publicKey,
      signingKey: signer.privateKey,
      signingAlgorithm: signingAlgorithm(signer.keyType),
      extensions: [
        new BasicConstraintsExtension(false, undefined, true),
        new KeyUsagesExtension(order.keyUsage ?? KeyUsageFlags.digitalSignature, true),
        await SubjectKeyIdentifierExtension.create(publicKey, false, webcrypto),
        await AuthorityKeyIdentifierExtension.create(signer.certificate.publicKey, false, webcrypto),
        ...extendedKeyUsage(order.extendedKeyUsage),
        ...alternativeNames(order.alternativeNames, request),
      ],
    },
    webcrypto,
  )
  const certificate = `${leaf.toString('pem')}\n`
  return {
    certificate,
    chain: certificate + signer.presented,
    thumbprint: thumbprint256(certificate),
    notBefore,
    notAfter,
  }
}

async function readRequest(pem: string): Promise<Pkcs10CertificateRequest> {
  const request = new Pkcs10CertificateRequest(pem)
  if (!(await request.verify(webcrypto))) {
    throw new Error(
      `The request for "${request.subject}" does not prove possession: expected a signature by the key it holds.`,
    )
  }
  return request
}

function subjectOf(order: LeafOrder, request: Pkcs10CertificateRequest | undefined): JsonName {
  const { commonName } = order
  if (request === undefined) {
    if (commonName === undefined) {
      throw new Error('A leaf needs a subject: expected `csr` or `commonName`, neither came.')
    }
    return [{ CN: [commonName] }]
  }
  const asked = request.subjectName.toJSON()
  return commonName === undefined ? asked : asked.map((part) => ('CN' in part ? { CN: [commonName] } : part))
}

function definedDates(order: LeafOrder): { notBefore?: Date; notAfter?: Date } {
  return {
    ...(order.notBefore === undefined ? {} : { notBefore: order.notBefore }),
    ...(order.notAfter === undefined ? {} : { notAfter: order.notAfter }),
  }
}

function extendedKeyUsage(asked: readonly string[] = [ExtendedKeyUsage.clientAuth]): Extension[] {
  return asked.length === 0 ? [] : [new ExtendedKeyUsageExtension([...asked])]
}

function alternativeNames(
  asked: JsonGeneralNames | undefined,
  request: Pkcs10CertificateRequest | undefined,
): Extension[] {
  if (asked !== undefined) return [new SubjectAlternativeNameExtension(asked)]
  // subjectAltName (RFC 5280, 4.2.1.6)
  const requested = request?.getExtension('2.5.29.17')
  return requested ? [requested] : []
}
